"""What a fork server is asked for, as it comes over its Unix socket."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass

_STREAMS = 3  # standard input, output and error come with a request
_PATIENCE = 5.0  # seconds for the rest of a request
_LARGEST = 4 << 20  # bytes of a request; the arguments and environment of a process are less


@dataclass(frozen=True)
class Request:
    """What a worker must run: Python's arguments, and the folder, environment and streams."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]


def received(child: socket.socket) -> Request:
    """Read a request: its length in four bytes, with the streams, and JSON.

    Raises OSError, ValueError or TypeError if it is not one, or if the client has gone.
    """
    child.settimeout(_PATIENCE)
    start, streams, _, _ = socket.recv_fds(child, 4, _STREAMS)
    try:
        length = int.from_bytes(start, "big")
        if length > _LARGEST:
            raise ValueError(f"a request of {length} bytes")
        with child.makefile("rb") as rest:
            request = Request(**json.loads(rest.read(length)), streams=streams)
        child.setblocking(False)
        with suppress(BlockingIOError):
            child.recv(1)  # returns only when the connection is closed
            raise ConnectionError("the client has ended")
        return request
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise
