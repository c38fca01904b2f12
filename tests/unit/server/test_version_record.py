"""The record of what is served, as data and as a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from marsmith.client import Model
from marsmith.core.errors import ServerError
from marsmith.project.project import Project
from marsmith.server.version_record import (
    Version,
    default_of,
    deployed,
    observed,
    previous,
    read_record,
    recording,
    recording_within,
    snapshot,
    write_record,
)

FIRST = Version(
    "echo",
    "1.0",
    "1.0.mar",
    "aa",
    batch_size=4,
    max_batch_delay=5,
    response_timeout=30,
    since=1.0,
    default_since=2.0,
    deployed=True,
)
SECOND = replace(
    FIRST, version="2.0", file="2.0.mar", default=True, min_workers=1, default_since=3.0
)


def _model(version: str, *, default: bool, workers: int) -> Model:
    return Model("echo", version, default, workers, workers, 4, 5, (), f"{version}.mar", 30)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert read_record(project, 80) == ()
    write_record(project, 80, (FIRST, SECOND))
    assert read_record(project, 80) == (FIRST, SECOND)
    write_record(project, 80, ())
    assert read_record(project, 80) == ()


def test_a_damaged_record_names_the_way_on(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write_record(project, 80, (FIRST,))
    next((tmp_path / ".marsmith/servers/80").glob("*.json")).write_text('[{"name": 1}]')
    with pytest.raises(ServerError) as caught:
        read_record(project, 80)
    assert caught.value.code == "damaged-record"


def test_the_version_before_is_the_one_that_was_the_default_last() -> None:
    older = replace(FIRST, version="0.9", default_since=1.0)
    never = replace(FIRST, version="0.1", default_since=0.0)
    assert previous((older, FIRST, SECOND, never), "echo") == FIRST
    assert default_of((older, FIRST, SECOND), "echo") == SECOND
    assert previous((SECOND, never), "echo") is None


def test_what_the_server_says_is_taken_over_and_what_it_has_lost_is_dropped() -> None:
    now = observed(
        (FIRST, SECOND),
        [_model("2.0", default=False, workers=3), _model("3.0", default=True, workers=1)],
    )
    assert [(one.version, one.default, one.min_workers) for one in now] == [
        ("2.0", False, 3),
        ("3.0", True, 1),
    ]
    assert now[0].file == SECOND.file
    assert (now[1].file, now[1].deployed) == ("3.0.mar", True)
    assert now[1].default_since > SECOND.default_since


def test_only_what_was_deployed_lasts() -> None:
    assert deployed((replace(FIRST, deployed=False), SECOND)) == (SECOND,)


def test_a_snapshot_has_torchserves_own_form() -> None:
    values = json.loads(snapshot((FIRST, SECOND)))
    assert values["modelCount"] == 1
    assert values["models"]["echo"]["2.0"] == {
        "defaultVersion": True,
        "marName": "2.0.mar",
        "minWorkers": 1,
        "maxWorkers": 0,
        "batchSize": 4,
        "maxBatchDelay": 5,
        "responseTimeout": 30,
    }


def test_a_second_change_finds_the_record_taken(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with recording(project, 80), recording_within(project, 80, 0.05) as alone:
        assert not alone
    with recording_within(project, 80) as alone:
        assert alone
