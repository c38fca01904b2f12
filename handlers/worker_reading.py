"""Requests read in large pieces: TorchServe's worker asks its socket for every number by itself.

A request with five headers costs it about thirty system calls (ts/protocol/otf_message_handler.py);
this way most batches cost one.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from ts.protocol import otf_message_handler

_AT_ONCE = 1 << 16  # bytes


class _ReadAhead:
    """Takes the place of that module's `_retrieve_buffer`; what was read too early is kept."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._ahead, self._start = b"", 0

    def __call__(self, connection: Any, length: int) -> bytearray:
        """Return the next `length` bytes; like TorchServe's own, end with the front end."""
        if connection is not self._connection:  # a worker has one; in-process it is one a message
            self._connection, self._ahead, self._start = connection, b"", 0
        start, end = self._start, self._start + length
        if end > len(self._ahead):
            self._ahead = self._read(self._ahead[start:], length)
            start, end = 0, length
        found = bytearray(self._ahead[start:end])
        self._start = end
        if end == len(self._ahead):
            self._ahead, self._start = b"", 0  # a large body is not kept until the next one comes
        return found

    def _read(self, first: bytes, length: int) -> bytes:
        parts, missing = [first], length - len(first)
        while missing > 0:
            part = self._connection.recv(max(missing, _AT_ONCE))
            if not part:
                logging.info("Frontend disconnected.")
                sys.exit(0)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def read_ahead() -> None:
    """Let this worker read so from now on, and not log a line per batch to its front end."""
    if hasattr(otf_message_handler, "_retrieve_buffer"):  # as in TorchServe 0.12
        otf_message_handler._retrieve_buffer = _ReadAhead()
    logging.getLogger().addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg != "Backend received inference at: %d"
