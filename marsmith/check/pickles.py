"""Find pickles that attack when they are loaded, without loading them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from marsmith.check.subject import Subject
from marsmith.core.findings import Finding
from marsmith.weights.pickle_scan import hostile_names, is_pickled

_START = 8  # bytes that identify a pickle
_SHOWN = 5  # names


def check_pickles(subject: Subject) -> Iterator[Finding]:
    """Yield every file that would run code of an attack when it is unpickled."""
    with tempfile.TemporaryDirectory(prefix="marsmith-pickles-") as folder:
        path = Path(folder) / "file"
        for name in sorted(subject.archive.names):
            if not is_pickled(name, subject.archive.read(name, _START)):
                continue
            subject.archive.copy(name, path)
            if found := hostile_names(path):
                code = ", ".join(found[:_SHOWN])
                message = f"loading it runs {code}, which looks like an attack"
                hint = "do not load it; ask its author"
                yield subject.finding(message, hint, name, rule="weights-execute")
