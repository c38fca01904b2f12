"""The web process of a gateway: faces over a back end, under uvicorn.

    python gateway_web.py SETTINGS SUPERVISOR

SETTINGS is the file of gateway/served.py's Settings, SUPERVISOR the pid of `marsmith gateway`; this
process ends with it, and lets open requests end on SIGTERM.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_SET_DEATH_SIGNAL = 1  # prctl(2)


def main() -> None:
    """Serve until it is told to stop."""
    settings_file, supervisor = Path(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != supervisor:
        sys.exit("marsmith gateway has ended")
    sys.path[0:1] = []  # this folder: its modules are programs
    from marsmith.gateway.served import parse_settings
    from marsmith.gateway.web import run

    sys.exit(run(parse_settings(settings_file.read_bytes())))


if __name__ == "__main__":
    main()
