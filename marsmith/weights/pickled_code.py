"""Which code the pickles of one file would run: one may follow another."""

from __future__ import annotations

import re
from typing import BinaryIO

from marsmith.weights.pickle_scan import PickledCode, PickleScan

_SEARCHED = 1 << 26  # bytes behind a pickle in which another is looked for
_AT_ONCE = 1 << 16
_OVERLAP = 256  # bytes; the beginning of a pickle is shorter
_START = re.compile(rb"\x80[\x02-\x05]|c[\w.]{1,99}\n[\w.]{1,99}\n")


def pickled_code(file: BinaryIO, left: int) -> tuple[PickledCode, int]:
    """Return the code that the pickles of a file would run, and how many opcodes then are left.

    They may stand behind other bytes than a pickle's, but not at the beginning of the file. Raises
    WeightsError if there are more than `left` opcodes, and OSError.
    """
    code = PickledCode()
    scan = PickleScan(file, left)
    _follow_all(scan, code)
    if scan.arrays:
        file.seek(0)
        scan = PickleScan(file, scan.left, joblib=True)
        _follow_all(scan, code)
    return code, scan.left


def _follow_all(scan: PickleScan, code: PickledCode) -> None:
    start: int | None = scan.file.tell()
    end = None  # of the search behind the first pickle
    while start is not None:
        found = scan.follow()
        code.names = found.names | code.names
        code.python = code.python or found.python
        if not scan.ended:
            start, end = scan.file.tell(), None
        elif start == 0 and not scan.is_pickle:
            return
        else:
            end = start + _SEARCHED if end is None else end
            start = _next_start(scan.file, start + 1, end)


def _next_start(file: BinaryIO, place: int, end: int) -> int | None:
    """Go to where the next pickle may begin, and return the place."""
    while place < end:
        file.seek(place)
        found = _START.search(piece := file.read(_AT_ONCE))
        if found:
            return file.seek(place + found.start())
        if len(piece) < _AT_ONCE:
            return None
        place += _AT_ONCE - _OVERLAP
    return None
