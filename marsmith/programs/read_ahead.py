"""A connection, read as far as there is something to read: several small reads cost one call."""

from __future__ import annotations

import ctypes
import logging
import select
import struct
import sys
from typing import Any, NoReturn

_AT_ONCE = 1 << 16  # bytes
_IDLE = 1000  # milliseconds without a request
_PREDICT = ord("I")
_int_at = struct.Struct("!i").unpack_from
# What TorchServe's worker decodes before a handler sees it.
_DECODED = (b"application/json", b"text")


class ReadAhead:
    """Takes the place of that module's `_retrieve_buffer`; what was read too early is kept."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._readable = select.poll()
        self._ahead, self._start = b"", 0

    def __call__(self, connection: Any, length: int) -> bytearray:
        """Return the next `length` bytes; like TorchServe's own, end with the front end."""
        self._attend(connection)
        if length > _AT_ONCE:
            return self._large(length)
        start, end = self._start, self._start + length
        if end > len(self._ahead):
            self._ahead = self._read(self._ahead[start:], length)
            start, end = 0, length
        found = bytearray(self._ahead[start:end])
        self._start = end
        if end == len(self._ahead):
            self._ahead, self._start = b"", 0  # a large body is not kept until the next one comes
        return found

    def batch(self, connection: Any) -> list[dict[str, Any]] | None:
        """Return a batch that has come as a whole, in the form of `_retrieve_inference_msg`.

        None where the next message is another one, or has not come as a whole, or has a body that
        is decoded: nothing of it is taken then.
        """
        self._attend(connection)
        if not self._ahead:
            self._ahead, self._start = self._read(b"", 1), 0
        if self._ahead[self._start] != _PREDICT:
            return None
        try:
            batch, end = _batch(self._ahead, self._start + 1)
        except (struct.error, _NotHereError):
            return None
        self._start = end
        if end == len(self._ahead):
            self._ahead, self._start = b"", 0
        return batch

    def _large(self, length: int) -> bytearray:
        """Return a picture's bytes, which are copied only once: into the place that they keep."""
        found = bytearray(length)
        here = self._ahead[self._start : self._start + length]
        found[: len(here)] = here
        self._ahead, self._start = self._ahead[self._start + len(here) :], 0
        with memoryview(found) as rest:
            place = len(here)
            while place < length:
                count = self._connection.recv_into(rest[place:])
                if not count:
                    _end()
                place += count
        return found

    def _attend(self, connection: Any) -> None:
        if connection is not self._connection:
            self._connection, self._ahead, self._start = connection, b"", 0
            self._readable = select.poll()
            self._readable.register(connection, select.POLLIN)

    def _read(self, first: bytes, length: int) -> bytes:
        parts, missing = [first], length - len(first)
        if not self._readable.poll(_IDLE):
            _give_memory_back()
        while missing > 0:
            part = self._connection.recv(max(missing, _AT_ONCE))
            if not part:
                _end()
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _end() -> NoReturn:
    """End as TorchServe's own worker does when the front end is gone."""
    logging.info("Frontend disconnected.")
    sys.exit(0)


def _give_memory_back() -> None:
    """Return to the system what the last batches were computed in; glibc keeps it for the next."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)


class _NotHereError(Exception):
    """A batch is not here as a whole, or needs more than to be cut in pieces."""


def _batch(data: bytes, at: int) -> tuple[list[dict[str, Any]], int]:
    """Cut the batch at `at` in pieces; return where it ends as well.

    Raises _NotHereError, or struct.error where a number is cut off.
    """
    batch: list[dict[str, Any]] = []
    while True:
        request_id, at = _piece(data, at)
        if request_id is None:
            return batch, at
        headers = []
        while True:
            name, at = _piece(data, at)
            if name is None:
                break
            value, at = _piece(data, at)
            headers.append({"name": name, "value": value})
        parameters = []
        while True:
            name, at = _piece(data, at)
            if name is None:
                break
            kind, at = _piece(data, at)
            value, at = _piece(data, at)
            if kind is None or value is None or kind.startswith(_DECODED):
                raise _NotHereError
            one = {"name": name.decode(), "contentType": kind.decode(), "value": value}
            parameters.append(one)
        batch.append({"requestId": request_id, "headers": headers, "parameters": parameters})


def _piece(data: bytes, at: int) -> tuple[bytearray | None, int]:
    """Return what stands behind its length, and where it ends; None for the end of a list."""
    (length,) = _int_at(data, at)
    at += 4
    if length == -1:
        return None, at
    end = at + length
    if end > len(data):
        raise _NotHereError
    return bytearray(data[at:end]), end
