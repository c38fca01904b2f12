"""marsmith/processes.py, with real processes."""

from __future__ import annotations

import subprocess

import psutil

from marsmith.processes import end_group

# Does not end when asked to, nor does its child; says when both are there.
STUBBORN = "trap '' TERM; sleep 60 & echo ready; wait; sleep 60"


def test_a_process_group_is_ended_even_if_it_ignores_the_request() -> None:
    with subprocess.Popen(
        ["sh", "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == b"ready\n"
        children = psutil.Process(leader.pid).children()
        assert len(children) == 1
        end_group(leader.pid, patience=0.2)
        assert not _lives(children[0])
        assert not psutil.pid_exists(leader.pid)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # its new parent may be slow to look
    except psutil.NoSuchProcess:
        return False


def test_a_process_that_ends_when_asked_to_is_waited_for() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as leader:
        end_group(leader.pid)
        assert not psutil.pid_exists(leader.pid)


def test_a_group_that_is_gone_is_no_error() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as leader:
        leader.wait()
    end_group(leader.pid)
    assert not psutil.pid_exists(leader.pid)
