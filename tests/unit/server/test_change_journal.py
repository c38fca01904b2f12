"""marsmith/server/change_journal.py: what a killed change leaves, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marsmith.project.project import Project
from marsmith.server.change_journal import (
    begin_change,
    end_change,
    settle_before_start,
    unfinished_change,
)
from marsmith.server.pinned_archives import store_of
from marsmith.server.state import server_folder
from marsmith.server.version_record import Version, read_record, write_record

OLD = Version("echo", "1.0", ".80-echo-1.mar", "aa", since=1.0, default=True, deployed=True)
NEW = replace(OLD, version="2.0", file=".80-echo-2.mar", default=False)


def test_a_change_that_ended_leaves_nothing(tiny: Project) -> None:
    begin_change(tiny, 80, (OLD,))
    assert unfinished_change(tiny, 80) == (OLD,)
    end_change(tiny, 80)
    end_change(tiny, 80)
    assert unfinished_change(tiny, 80) is None
    assert list(server_folder(tiny, 80).iterdir()) == []


def test_a_server_starts_with_what_was_served_before_a_killed_change(tiny: Project) -> None:
    begin_change(tiny, 80, (OLD,))
    write_record(tiny, 80, (OLD, NEW))
    scratch = tiny.state_folder("deploy/80") / "tmp1" / "echo.mar"
    other = tiny.state_folder("deploy/81") / "tmp1" / "echo.mar"
    half = [store_of(tiny, port) / ".echo-1.mar.0f.tmp" for port in (80, 81)]
    for path in (scratch, other, *half):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    settle_before_start(tiny, 80)
    assert read_record(tiny, 80) == (OLD,)
    assert unfinished_change(tiny, 80) is None
    assert [path.exists() for path in (scratch, other, *half)] == [False, True, False, True]


@pytest.mark.parametrize("text", ["", "[", "{}7", "[1]", '[{"colour": "new"}]', "7"])
def test_a_journal_that_cannot_be_read_changes_nothing(tiny: Project, text: str) -> None:
    write_record(tiny, 80, (OLD, NEW))
    (server_folder(tiny, 80) / "change.json").write_text(text)
    settle_before_start(tiny, 80)
    assert read_record(tiny, 80) == (OLD, NEW)
    assert not (server_folder(tiny, 80) / "change.json").exists()
