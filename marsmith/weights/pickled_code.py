"""Which code the pickles of one file would run: one may follow another."""

from __future__ import annotations

import re
from typing import BinaryIO

from marsmith.weights.pickle_scan import PickledCode, PickleScan

_SEARCHED = 1 << 26  # bytes behind a pickle in which another is looked for
_START = re.compile(rb"\x80[\x02-\x05]|c[\w.]+\n[\w.]+\n")  # of a pickle behind other bytes


def pickled_code(file: BinaryIO, left: int) -> tuple[PickledCode, int]:
    """Return the code that the pickles of a file would run, and how many opcodes then are left.

    They may stand behind other bytes than a pickle's, but not at the beginning of the file. Raises
    WeightsError if there are more than `left` opcodes, and OSError.
    """
    code = PickledCode()
    scan = PickleScan(file, left)
    _follow_all(scan, file, code)
    if scan.arrays:
        file.seek(0)
        scan = PickleScan(file, scan.left, joblib=True)
        _follow_all(scan, file, code)
    return code, scan.left


def _follow_all(scan: PickleScan, file: BinaryIO, code: PickledCode) -> None:
    pickles = 0
    while True:
        start = file.tell()
        found = scan.follow()
        code.names = found.names | code.names
        code.python = code.python or found.python
        if scan.ended:
            if not pickles:
                return
            file.seek(start)
            begin = _START.search(file.read(_SEARCHED), 1)
            if begin is None:
                return
            file.seek(start + begin.start())
        pickles += 1
