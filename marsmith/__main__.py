"""The `marsmith` command, also as `python -m marsmith`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command. Ctrl-C ends it without a traceback while its modules are imported, too."""
    try:
        from marsmith.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
