"""marsmith/deploy/transaction.py: steps that can be stopped, and undone in reverse order."""

from __future__ import annotations

import subprocess
import sys
import time
from threading import Event

import pytest

from marsmith.core.errors import RolloutError
from marsmith.core.findings import Finding
from marsmith.core.interrupts import StopRequest
from marsmith.deploy.transaction import Transaction
from tests.codes import coded


def test_steps_and_warnings_are_told_and_the_last_step_is_known() -> None:
    told: list[str | Finding] = []
    change = Transaction(StopRequest(), told.append)
    change.step("copy")
    change.warn("slow", "be quick", rule="canary-short")
    change.step("load")
    assert change.now == "load"
    copied, warning, loaded = told
    assert (copied, loaded) == ("copy", "load")
    assert isinstance(warning, Finding)
    assert (warning.rule, warning.severity.value) == ("canary-short", "warning")


def test_what_was_done_is_undone_the_last_first_whatever_fails() -> None:
    undone: list[str] = []
    change = Transaction(StopRequest(), lambda _: None)

    def fails() -> None:
        undone.append("second")
        raise OSError("gone")

    change.on_failure(lambda: undone.append("first"))
    change.on_failure(fails)
    change.on_failure(lambda: undone.append("third"))
    change.undo()
    change.undo()  # only once
    assert undone == ["third", "second", "first"]


def test_what_is_committed_stays() -> None:
    seen: list[str] = []
    change = Transaction(StopRequest(), lambda _: None, lambda: seen.append("committed"))
    change.on_failure(lambda: seen.append("undone"))
    change.commit()
    change.undo()
    assert seen == ["committed"]


def test_a_request_to_stop_counts_before_a_step_and_not_while_it_is_undone() -> None:
    stop, told = StopRequest(), list[object]()
    change = Transaction(stop, told.append)
    change.on_failure(lambda: None)
    change.step("copy")
    stop.requested = True
    with pytest.raises(RolloutError, check=coded("stopped")):
        change.step("load")
    assert change.now == "copy"
    change.begin_undo()
    change.step("unregister")
    assert told[-1] == "unregister"


def test_a_call_returns_its_value_or_raises_its_own_error() -> None:
    change = Transaction(StopRequest(), lambda _: None)
    assert change.waiting_for(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        change.waiting_for(lambda: 1 // 0)


def test_a_stop_ends_the_processes_of_the_call_that_is_waited_for() -> None:
    stop = StopRequest()
    change = Transaction(stop, lambda _: None)

    def call() -> int:
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            stop.requested = True
            return process.wait()

    begun = time.monotonic()
    with pytest.raises(RolloutError, check=coded("stopped")):
        change.waiting_for(call)
    assert time.monotonic() - begun < 60


def test_a_stop_before_the_call_has_started_its_process_ends_that_process() -> None:
    stop = StopRequest()
    change = Transaction(stop, lambda _: None)
    told, ended = Event(), Event()

    def call() -> None:
        stop.requested = True
        told.wait(30)
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            process.wait()
        ended.set()

    with pytest.raises(RolloutError, check=coded("stopped")):
        change.waiting_for(call)
    told.set()
    assert ended.wait(30)
