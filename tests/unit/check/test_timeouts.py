"""Measured times against the timeouts of archives, projects and TorchServe."""

from __future__ import annotations

import pytest

from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.check.subject import Subject
from marsmith.check.timeouts import check_timeouts
from tests.projects import minimal_spec
from tests.unit.conftest import MakeProject


@pytest.mark.parametrize(
    ("spec", "config", "seconds", "found"),
    [
        ("startupTimeout = 10", "", {"load": 11.0}, ["error"]),
        ("startupTimeout = 10", "", {"load": 6.0}, ["warning"]),
        ("startupTimeout = 10", "", {"load": 4.0, "answer": 50.0}, []),
        ("responseTimeout = 1", "", {"load": 9.0, "answer": 1.5}, ["error"]),
        ("minWorkers = 1", "", {"load": 130.0, "answer": 130.0}, ["error", "error"]),
        ("minWorkers = 1", "default_response_timeout=5", {"answer": 6.0}, ["error"]),
        ("responseTimeout = 60", "default_response_timeout=5", {"answer": 6.0}, []),
        ("minWorkers = 1", "default_startup_timeout=500", {"load": 130.0}, []),
    ],
)
def test_what_takes_longer_than_its_timeout_is_found(
    project: MakeProject,
    spec: str,
    config: str,
    seconds: dict[str, float],
    found: list[str],
) -> None:
    files = {"handler.py": "class A: ...\n", "config.properties": config}
    tiny = project(files, minimal_spec(f"serving = {{ {spec} }}\n"))
    (built,) = build(tiny, ("tiny",))
    subject = Subject(Archive(built.path), tiny, tiny.spec_file.archives["tiny"])
    told = list(check_timeouts(subject, seconds))
    assert {one.rule for one in told} <= {"serving-timeout"}
    assert [one.severity.value for one in told] == found
    assert all(one.file == "archives.toml" for one in told)
