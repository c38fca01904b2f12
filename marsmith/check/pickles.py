"""Find files of an archive that run code when they are loaded, without loading them."""

from __future__ import annotations

from collections.abc import Iterator

from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.project.accepted_code import code_problem
from marsmith.weights.code_search import FoundCode, code_in


def check_pickles(subject: Subject) -> Iterator[Finding]:
    """Yield every file whose code is not accepted, and the operators that need a library."""
    found = {one.file: one for one in code_in(subject.archive.path)}
    for name, one in found.items():
        entry = subject.archive.entry_of(name)
        if one.runs and one.digest not in subject.accepted:
            message, hint = code_problem(one, subject.spec)
            yield subject.finding(message, hint, entry, rule="weights-execute")
        elif one.custom:
            yield _custom(subject, entry, one)


def _custom(subject: Subject, entry: str, found: FoundCode) -> Finding:
    message = f"its program needs more than PyTorch: {', '.join(sorted(found.custom)[:5])}"
    hint = "import the library that defines it in the handler; nothing here sees what it does"
    return subject.finding(message, hint, entry, severity=Severity.WARNING, rule="custom-operator")
