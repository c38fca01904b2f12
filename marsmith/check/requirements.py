"""Does what an archive requires come from the package index alone?"""

from __future__ import annotations

from collections.abc import Iterator

from marsmith.archive.requirements import foreign_sources, included_files
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.weights.pickle_names import shown

_HINT = "name packages of the index with their versions, or be sure that you trust where it leads"


def check_requirements(subject: Subject) -> Iterator[Finding]:
    """Yield lines of requirements files that take code from elsewhere."""
    waiting = [subject.manifest.requirements_file]
    seen = set[str]()
    while waiting:
        name = waiting.pop()
        if name is None or name in seen or name not in subject.archive.names:
            continue
        seen.add(name)
        text = subject.archive.read(name, 1 << 20).decode(errors="replace")
        waiting += included_files(text)
        for line, what in foreign_sources(text):
            message = f"{shown(line)!r} {what}"
            yield subject.finding(
                message, _HINT, name, severity=Severity.WARNING, rule="requirement-source"
            )
