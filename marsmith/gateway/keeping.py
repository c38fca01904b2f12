"""Keeps descriptors of the web process, so that its workers live on when it dies.

A worker ends when the last copy of its connection closes (TorchServe's own rule), so the
supervisor holds a copy. Messages are JSON with descriptors (SCM_RIGHTS), over a Unix socket that
keeps their bounds.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_LARGEST = 1 << 16  # bytes of a message
_MOST = 8  # descriptors of a message
_PATIENCE = 5.0  # seconds for the supervisor to answer


@dataclass(frozen=True)
class Kept:
    """What is kept under an id: words of the web process about it, and descriptors."""

    id: int
    about: Mapping[str, Any]
    descriptors: Sequence[int]


class Keeper:
    """The supervisor's half."""

    def __init__(self) -> None:
        self._kept: dict[int, Kept] = {}

    def connection(self) -> socket.socket:
        """Return the socket for a web process; what another one left is kept for it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        threading.Thread(target=self._serve, args=[ours], daemon=True).start()
        return theirs

    def close(self) -> None:
        """Keep nothing any more: the workers end."""
        for number in list(self._kept):
            self._forget(number)

    def _serve(self, web: socket.socket) -> None:
        with web, suppress(OSError):  # the web process has ended
            while True:
                text, descriptors, _, _ = socket.recv_fds(web, _LARGEST, _MOST)
                if not text:
                    return
                message = json.loads(text)
                if "keep" in message:
                    self._forget(message["keep"])
                    kept = Kept(message["keep"], message["about"], descriptors)
                    self._kept[kept.id] = kept
                elif "forget" in message:
                    self._forget(message["forget"])
                else:
                    self._give_back(web)

    def _give_back(self, web: socket.socket) -> None:
        for kept in list(self._kept.values()):
            words = json.dumps({"keep": kept.id, "about": kept.about}).encode()
            socket.send_fds(web, [words], list(kept.descriptors))
        web.send(b"{}")

    def _forget(self, number: int) -> None:
        kept = self._kept.pop(number, None)
        for one in kept.descriptors if kept else ():
            os.close(one)


class KeeperClient:
    """The web process's half; without a supervisor it keeps nothing."""

    def __init__(self, descriptor: int = -1) -> None:
        self._socket = socket.socket(fileno=descriptor) if descriptor >= 0 else None
        if self._socket is not None:
            self._socket.settimeout(_PATIENCE)

    def keep(self, number: int, about: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Have copies of descriptors kept."""
        if self._socket is not None and min(descriptors) >= 0:
            words = json.dumps({"keep": number, "about": about}).encode()
            with suppress(OSError):  # the supervisor has ended, and this process will, too
                socket.send_fds(self._socket, [words], list(descriptors))

    def forget(self, number: int) -> None:
        """Have the copies closed."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(json.dumps({"forget": number}).encode())

    def take_back(self) -> list[Kept]:
        """Return what an earlier web process has left, which stays kept."""
        found: list[Kept] = []
        with suppress(OSError):
            if self._socket is None:
                return found
            self._socket.send(b"{}")
            while True:
                text, descriptors, _, _ = socket.recv_fds(self._socket, _LARGEST, _MOST)
                message = json.loads(text or b"{}")
                if not message:
                    break
                found.append(Kept(message["keep"], message["about"], descriptors))
        return found

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
