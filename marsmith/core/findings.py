"""Findings of checks: a problem, where it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from marsmith.core.errors import ProjectError


class Severity(str, Enum):
    """How bad a finding is: an error stops the work, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One problem; `file` is relative to the project's root, `line` counts from 1.

    `rule` is the code of this kind of problem and never changes. A `presumed` problem is only real
    if the archive cannot be loaded, or answers nothing. `about` is the name that it is about, such
    as a module's.
    """

    message: str
    hint: str
    file: str | None = None
    line: int | None = None
    severity: Severity = Severity.ERROR
    rule: str = ""
    presumed: bool = False
    about: str = ""

    @property
    def location(self) -> str:
        """`archives.toml:12`, `archives.toml`, or nothing."""
        return ":".join(str(part) for part in (self.file, self.line) if part is not None)


class FindingsError(ProjectError):
    """A project or an archive has problems; `findings` holds all of them at once."""

    code = "findings"

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        errors = sum(finding.severity is Severity.ERROR for finding in self.findings)
        super().__init__(
            f"{errors} problem{'s' if errors != 1 else ''} found",
            "each problem above says what to do",
        )
