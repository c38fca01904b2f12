"""Why a worker was lost."""

from __future__ import annotations

import signal

import pytest

from marsmith.worker.lost import ended, ending, late
from marsmith.worker.sandbox import End
from tests.unit.torchserve.worker_logs import UNPACKED

STACK = f"""\
Stack (most recent call first):
  File "{UNPACKED}/own.py", line 8 in handle
  File "/x/ts/service.py", line 134 in predict
"""
RAISED = f"""\
Traceback (most recent call last):
  File "{UNPACKED}/own.py", line 5, in handle
SystemExit: 3
"""


def test_a_late_worker_is_where_its_stack_says() -> None:
    found = late("answer", 3, f"x\n{STACK}")
    assert (found.rule, found.file, found.line) == ("worker-timeout", "own.py", 8)
    assert late("load", 3, "x\n").file is None


@pytest.mark.parametrize(
    ("status", "log", "rule", "line"),
    [
        (3, RAISED, "handler-exits", 5),
        (3, "", "worker-ended", None),
        (None, RAISED, "handler-exits", 5),
        (None, "", "worker-ended", None),
        (-signal.SIGKILL, RAISED, "worker-ended", None),
        (-signal.SIGABRT, RAISED + STACK, "worker-ended", 8),
    ],
)
def test_how_it_ended_decides_what_of_its_log_is_the_cause(
    status: int | None, log: str, rule: str, line: int | None
) -> None:
    found = ended(End(status), log)
    assert (found.rule, found.line) == (rule, line)


def test_a_limit_of_the_sandbox_goes_before_what_it_printed() -> None:
    assert ended(End(1, "memory"), RAISED).rule == "sandbox-limit"


@pytest.mark.parametrize(
    ("status", "word"),
    [(0, "0"), (3, "3"), (-signal.SIGSEGV, "SIGSEGV"), (-100, "100")],
)
def test_a_status_below_zero_is_a_signal(status: int, word: str) -> None:
    assert ending(status).split()[-1] == word
