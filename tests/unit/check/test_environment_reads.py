"""Which variables check finds that code reads and workers do not get."""

from __future__ import annotations

import pytest

from marsmith.building.building import build
from marsmith.check.checking import check
from marsmith.check.targets import Target
from tests.projects import minimal_spec
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes
HANDLER = """\
import os
from os import environ, getenv

class Handler:
    def initialize(self, context):
        {loads}

    def handle(self, data, context):
        return ["a" for _ in data]
"""


def told(project: MakeProject, loads: str) -> list[tuple[str, str, str | None, int | None]]:
    tiny = project({"handler.py": HANDLER.format(loads=loads)}, minimal_spec())
    (built,) = build(tiny, ("tiny",))
    target = Target("tiny", built.path, tiny, tiny.spec_file.archives["tiny"])
    found = check(target, timeout=60).findings
    return [(f.rule, f.severity.value, f.file, f.line) for f in found if f.rule != "no-sample"]


@pytest.mark.parametrize(
    "reads",
    [
        'os.environ["TS_ROOT"]',
        'environ["VIRTUAL_ENV"]',
        'open(os.path.join(os.getenv("PYTHON_DATA"), "x"))',
        'open(getenv("DB_PASSWORD"))',
        'open(os.environ.get("LOG_LOCATION"))',
    ],
)
def test_a_variable_that_workers_do_not_get_is_the_cause(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert ("environment", "error", "handler.py", 6) in told(project, loads=reads)


def test_one_that_is_set_here_and_not_needed_is_a_warning(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TS_LEVEL", "3")
    read = 'self.level = environ.get("TS_LEVEL", "1")'
    assert told(project, loads=read) == [("environment", "warning", "handler.py", 6)]
    monkeypatch.setenv("MARSMITH_PASS_ENVIRONMENT", "TS_LEVEL")
    assert told(project, loads=read) == []
