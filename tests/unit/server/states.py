"""Records of servers whose processes are this test's own, or `sleep`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marsmith.core.processes import identity, this_system
from marsmith.server.own_folder import OwnFolder
from marsmith.server.state import ServerState

GONE = (2**22 - 1, 1.0)  # as good as no process ever


@contextmanager
def own_folder() -> Iterator[OwnFolder]:
    """A folder of a server, in the system's temporary folder."""
    folder = OwnFolder()
    folder.make()
    try:
        yield folder
    finally:
        folder.remove()


def state_in(folder: OwnFolder) -> ServerState:
    """A server whose `marsmith serve` is this process, and whose TorchServe is it too."""
    here = identity(os.getpid())
    return ServerState(
        port=9000,
        url="http://127.0.0.1:9000",
        management_url="http://127.0.0.1:9001",
        metrics_url="http://127.0.0.1:9002",
        models=["tiny"],
        unproven=[],
        ready=True,
        since=1.5,
        supervisor=here,
        front_end=here,
        folder=str(folder.path),
        nonce=folder.nonce,
        system=this_system(),
        secure=True,
        certificate="/tls/server.pem",
        warnings=[{"rule": "open-address", "message": "others reach it", "hint": "use tokens"}],
    )


def tree(*folders: Path) -> dict[str, tuple[object, ...]]:
    """Return all that lies in folders, with its times and content, to see whether it changed."""
    found: dict[str, tuple[object, ...]] = {}
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            stat = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (
                stat.st_mode,
                stat.st_ino,
                stat.st_mtime_ns,
                stat.st_ctime_ns,
                content,
            )
    return found
