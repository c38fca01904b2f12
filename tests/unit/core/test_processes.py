"""marsmith/core/processes.py, with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil

from marsmith.core.processes import end_group, have_ended

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
        assert have_ended(children, 0)
        assert leader.poll() == -signal.SIGKILL


# Has a child that ends at once, and does not ask what became of it: a Popen that nobody refers to
# would ask as it is thrown away.
NEGLIGENT = """
import subprocess, time
child = subprocess.Popen("true")
print(child.pid, flush=True)
time.sleep(60)
"""


def test_what_its_parent_never_asks_about_has_ended() -> None:
    command = [sys.executable, "-c", NEGLIGENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert have_ended([child], 5)
        assert child.status() == psutil.STATUS_ZOMBIE
        assert not have_ended([psutil.Process(parent.pid)], 0.1)
        end_group(parent.pid)


def test_a_process_that_ends_when_asked_to_is_waited_for() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as leader:
        end_group(leader.pid)
        assert leader.poll() == -signal.SIGTERM


def test_a_group_that_is_gone_is_no_error() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as leader:
        leader.wait()
    end_group(leader.pid)
    assert not psutil.pid_exists(leader.pid)
