"""Keeps descriptors of the web process, so that its workers live on when it dies.

A worker ends when the last copy of its connection closes (TorchServe's own rule), so the
supervisor holds a copy. Messages are JSON with descriptors (SCM_RIGHTS), over a Unix socket that
keeps their bounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_LARGEST = 1 << 16  # bytes of a message
_MOST = 8  # descriptors of a message
_PATIENCE = 5.0  # seconds for the supervisor to answer
_PULSE = 1.0  # seconds between two signs of life
# Seconds without one, twice in a row, after which a web process counts as stuck. Once may be right
# after the whole machine, or the supervisor, was stopped.
_SILENCE = 4.0


@dataclass(frozen=True)
class Kept:
    """What is kept under an id: words of the web process about it, and descriptors."""

    id: int
    about: Mapping[str, Any]
    descriptors: Sequence[int]


class Keeper:
    """The supervisor's half."""

    def __init__(self, stuck: Callable[[], None] = lambda: None) -> None:
        """`stuck` is called, in a thread, for a web process that shows no sign of life any more."""
        self._stuck = stuck
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
        silent = 0
        with web, suppress(OSError):  # the web process has ended
            while silent < 2:
                try:
                    text, descriptors, _, _ = socket.recv_fds(web, _LARGEST, _MOST)
                except TimeoutError:
                    silent += 1
                    continue
                if not text:
                    return
                silent = 0
                self._take(web, json.loads(text), descriptors)
            self._stuck()

    def _take(self, web: socket.socket, message: Any, descriptors: Sequence[int]) -> None:
        if "keep" in message:
            self._forget(message["keep"])
            kept = Kept(message["keep"], message["about"], descriptors)
            self._kept[kept.id] = kept
        elif "forget" in message:
            self._forget(message["forget"])
        elif "alive" in message:
            web.settimeout(_SILENCE)
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


async def show_life(keeper: int) -> None:
    """Let the supervisor know, as long as the event loop runs, that this process is not stuck."""
    if keeper >= 0:
        os.set_blocking(keeper, False)  # a supervisor that is stopped does not read
    while keeper >= 0:
        with suppress(OSError):
            os.write(keeper, b'{"alive": true}')
        await asyncio.sleep(_PULSE)


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
