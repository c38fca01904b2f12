"""marsmith/core/findings.py."""

from __future__ import annotations

import pytest

from marsmith.core.findings import Finding, FindingsError, Severity


@pytest.mark.parametrize(
    ("file", "line", "location"),
    [("archives.toml", 12, "archives.toml:12"), ("archives.toml", None, "archives.toml")],
)
def test_a_location_names_file_and_line_where_they_are_known(
    file: str, line: int | None, location: str
) -> None:
    assert Finding("bad", "mend it", file, line).location == location


def test_a_finding_without_a_file_has_no_location_and_is_an_error() -> None:
    finding = Finding("bad", "mend it")
    assert (finding.location, finding.severity) == ("", Severity.ERROR)


@pytest.mark.parametrize(
    "errors",
    [0, 1, 2],
)
def test_the_error_counts_errors_and_keeps_warnings(errors: int) -> None:
    findings = [Finding("bad", "mend it")] * errors
    findings.append(Finding("odd", "look", severity=Severity.WARNING))
    error = FindingsError(iter(findings))
    assert error.findings == tuple(findings)
    assert (error.code, error.message.split()[0]) == ("findings", str(errors))
