"""Does an archive hold pickles that are there to attack? They are named, and never loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from marsmith.check.subject import Subject
from marsmith.core.findings import Finding
from marsmith.weights.pickle_scan import hostile_names, is_pickled

_START = 8  # bytes by which a pickle is known
_SHOWN = 5  # names of many


def check_pickles(subject: Subject) -> Iterator[Finding]:
    """Yield every file that runs code of an attack in whoever unpickles it, a handler for one."""
    with tempfile.TemporaryDirectory(prefix="marsmith-pickles-") as folder:
        path = Path(folder) / "file"
        for name in sorted(subject.archive.names):
            if not is_pickled(name, subject.archive.read(name, _START)):
                continue
            subject.archive.copy(name, path)
            if found := hostile_names(path):
                code = ", ".join(found[:_SHOWN])
                message = f"whoever loads it runs {code}: this is an attack, or a very strange file"
                hint = "do not load it; ask who made it"
                yield subject.finding("weights-execute", message, hint, name)
