"""Workers that are stopped for a moment continue, also if whoever stopped them is killed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from marsmith.core.errors import ServerError
from marsmith.server.held_workers import continue_held, held
from tests.codes import coded
from tests.integration.kit import wait_for


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    with subprocess.Popen(["sleep", "60"]) as started:
        yield psutil.Process(started.pid)
        started.kill()


def is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def test_held_workers_continue_at_the_end(tmp_path: Path, process: psutil.Process) -> None:
    with held(tmp_path, [process.pid, 2**22 + 1]):
        wait_for(lambda: is_stopped(process), "it to stop")
    wait_for(lambda: not is_stopped(process), "it to continue")
    assert list(tmp_path.iterdir()) == []


def test_workers_of_a_killed_command_continue(tmp_path: Path, process: psutil.Process) -> None:
    holding = held(tmp_path, [process.pid])
    holding.__enter__()  # and never left
    wait_for(lambda: is_stopped(process), "it to stop")
    continue_held(tmp_path)
    wait_for(lambda: not is_stopped(process), "it to continue")
    assert list(tmp_path.iterdir()) == []


def test_another_process_with_the_same_pid_is_left_alone(
    tmp_path: Path, process: psutil.Process
) -> None:
    process.suspend()
    wait_for(lambda: is_stopped(process), "it to stop")
    (tmp_path / "held.json").write_text(json.dumps([[process.pid, 1.0]]))
    continue_held(tmp_path)
    assert is_stopped(process)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", ["", "[[12", "null", "[1]", '{"a": 1}'])
def test_a_note_that_was_not_finished_holds_nothing_up(tmp_path: Path, note: str) -> None:
    (tmp_path / "held.json").write_text(note)
    continue_held(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_stopped_without_a_note_of_it(tmp_path: Path, process: psutil.Process) -> None:
    with (
        pytest.raises(ServerError, check=coded("file-not-written")),
        held(tmp_path / "gone", [process.pid]),
    ):
        pytest.fail("it was not noted")
    assert not is_stopped(process)
