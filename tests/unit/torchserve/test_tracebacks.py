"""marsmith/torchserve/tracebacks.py."""

from __future__ import annotations

import pytest

from marsmith.torchserve.tracebacks import (
    find_failure,
    find_stack,
    missing_module,
    traceback_lines,
)
from tests.unit.torchserve.worker_logs import (
    MASKED_IMPORT_ERROR,
    STARTED,
    STATE_DICT,
    SYNTAX_ERROR,
    UNKNOWN_EXCEPTION,
    UNPACKED,
    failure_in,
    logged,
)


def test_an_import_error_is_found_behind_the_one_that_masks_it() -> None:
    failure = failure_in(*logged(STARTED + MASKED_IMPORT_ERROR))
    assert failure is not None
    assert failure.exception == "ModuleNotFoundError: No module named 'image_classifer'"
    assert (failure.file, failure.line) == ("digit_classifier.py", 7)


def test_the_true_error_is_found_before_unknown_exception() -> None:
    failure = failure_in(*logged(STARTED + UNKNOWN_EXCEPTION))
    assert failure is not None
    assert failure.exception == "RuntimeError: mean needs one number a channel"
    assert (failure.file, failure.line) == ("inner/image_handler.py", 31)


def test_a_syntax_error_has_its_place() -> None:
    failure = failure_in(*logged(STARTED + SYNTAX_ERROR))
    assert failure is not None
    assert failure.exception == "SyntaxError: invalid syntax"
    assert (failure.file, failure.line) == ("digit_classifier.py", 3)


def test_a_message_of_several_lines_is_read_whole() -> None:
    failure = failure_in(*logged(STARTED + STATE_DICT))
    assert failure is not None
    assert failure.exception.splitlines() == [
        "RuntimeError: Error(s) in loading state_dict for ConvNet:",
        'Missing key(s) in state_dict: "cn1.weight", "cn1.bias".',
        "size mismatch for fc2.weight: copying a param with shape torch.Size([5, 64]).",
    ]
    assert (failure.file, failure.line) == ("image_handler.py", 40)


def test_an_endless_message_is_cut() -> None:
    rest = "".join(f"\tline {number}\n" for number in range(100))
    failure = failure_in(*logged(f"Traceback (most recent call last):\nRuntimeError: a\n{rest}"))
    assert failure is not None
    assert len(failure.exception.splitlines()) <= 12


def test_an_exception_that_was_dealt_with_before_does_not_count() -> None:
    failure = failure_in(*logged(UNKNOWN_EXCEPTION + STARTED + MASKED_IMPORT_ERROR))
    assert failure is not None
    assert failure.exception == "ModuleNotFoundError: No module named 'image_classifer'"


def test_of_a_chain_the_outer_exception_counts() -> None:
    chain = (
        "Traceback (most recent call last):\n"
        '  File "/t/models/00000000000000000000000000000000/own.py", line 3, in initialize\n'
        "ZeroDivisionError: division by zero\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/t/models/00000000000000000000000000000000/own.py", line 5, in initialize\n'
        "KeyError: 'wrapped'"
    )
    failure = failure_in(*logged(chain))
    assert failure is not None
    assert (failure.exception, failure.file, failure.line) == ("KeyError: 'wrapped'", "own.py", 5)


def test_a_masking_error_alone_is_better_than_nothing() -> None:
    masking = UNKNOWN_EXCEPTION[UNKNOWN_EXCEPTION.index("Backend worker process died.") :]
    failure = failure_in(*logged(masking))
    assert failure is not None
    assert failure.exception == "RuntimeError: 500 - Unknown exception"
    assert (failure.file, failure.line) == (None, None)


def test_two_workers_that_fail_side_by_side_are_not_mixed_up() -> None:
    first = logged(STARTED + STATE_DICT, "W-9000-digits_1.0")
    second = logged(STARTED + STATE_DICT, "W-9001-digits_1.0")
    mixed = [line for pair in zip(first, second, strict=True) for line in pair]
    assert failure_in(*mixed) == failure_in(*first)


def test_what_another_thread_prints_to_stderr_does_not_cut_a_traceback() -> None:
    lines = logged(STARTED + UNKNOWN_EXCEPTION)
    cut = next(i for i, line in enumerate(lines) if line.endswith("load_model"))
    noise = logged("UserWarning: something", stream="stderr")
    assert failure_in(*lines[: cut + 1], *noise, *lines[cut + 1 :]) == failure_in(*lines)


@pytest.mark.parametrize("text", ["", STARTED, "Killed\n"])
def test_without_a_traceback_there_is_no_failure(text: str) -> None:
    assert failure_in(*logged(text)) is None


def test_a_traceback_that_is_cut_off_is_still_a_failure() -> None:
    cut = UNKNOWN_EXCEPTION[: UNKNOWN_EXCEPTION.index("    raise RuntimeError")]
    failure = failure_in(*logged(cut))
    assert failure is not None


def test_the_innermost_frame_in_the_archive_is_the_place() -> None:
    text = f"""\
Traceback (most recent call last):
  File "{UNPACKED}/outer.py", line 1, in a
    b()
  File "{UNPACKED}/inner.py", line 2, in b
    json.loads(x)
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    raise ValueError
ValueError
"""
    failure = failure_in(*logged(text))
    assert failure is not None
    assert (failure.exception, failure.file, failure.line) == ("ValueError", "inner.py", 2)


def own_handler_shadows_a_default_one(frame: str) -> list[str]:
    return [
        "Traceback (most recent call last):",
        '  File "/x/ts/model_loader.py", line 105, in load',
        *([frame, "    import image_codec"] if frame else []),
        "ModuleNotFoundError: No module named 'image_codec'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "/x/ts/model_loader.py", line 143, in _load_default_handler',
        "ModuleNotFoundError: No module named 'captum'",
    ]


def test_a_default_handler_of_the_same_name_does_not_hide_what_the_archives_own_lacks() -> None:
    unpacked = "/x/models/0123456789abcdef0123456789abcdef/image_classifier.py"
    failure = find_failure(
        own_handler_shadows_a_default_one(f'  File "{unpacked}", line 7, in <module>')
    )
    assert failure is not None
    assert failure.exception == "ModuleNotFoundError: No module named 'image_codec'"
    assert (failure.file, failure.line) == ("image_classifier.py", 7)


def test_of_a_default_handler_alone_its_own_failure_is_told() -> None:
    failure = find_failure(own_handler_shadows_a_default_one(""))
    assert failure is not None
    assert failure.exception == "ModuleNotFoundError: No module named 'captum'"


GROUP = f"""\
  + Exception Group Traceback (most recent call last):
  |   File "/x/ts/service.py", line 134, in predict
  |     ret = self._entry_point(input_batch, self.context)
  |   File "{UNPACKED}/own.py", line 8, in handle
  |     raise ExceptionGroup("several", failed)
  | ExceptionGroup: several (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: one
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "{UNPACKED}/own.py", line 5, in handle
    |     row["b"]
    |     ~~~^^^^^
    | KeyError: 'b'
    +------------------------------------
"""


def test_a_group_of_exceptions_is_read_with_those_in_it() -> None:
    failure = find_failure(["Invoking custom service failed.", *GROUP.splitlines(), "[METRICS]a"])
    assert failure is not None
    assert failure.exception.splitlines() == [
        "ExceptionGroup: several (2 sub-exceptions)",
        "ValueError: one",
        "KeyError: 'b'",
    ]
    assert (failure.file, failure.line) == ("own.py", 8)
    assert "\n".join(failure.lines) == GROUP.rstrip()


# ---- where a process is


@pytest.mark.parametrize(
    "head",
    [
        "Fatal Python error: Aborted\n\nCurrent thread 0x00007f8d (most recent call first):",
        "Fatal Python error: Bus error\n\nThread 0x7f8d [x] (most recent call first):",
        "Stack (most recent call first):",
    ],
)
def test_a_stack_tells_the_innermost_line_of_the_archive(head: str) -> None:
    frames = f"""
  File "/usr/lib/python3.11/socket.py", line 706 in readinto
  File "{UNPACKED}/lib/far.py", line 4 in fetch
  File "{UNPACKED}/own.py", line 8 in handle
  File "/x/ts/service.py", line 134 in predict

Extension modules: numpy.core (total: 1)
"""
    found = find_stack(f"before\n{head}{frames}".splitlines())
    assert found is not None
    assert (found.file, found.line) == ("lib/far.py", 4)
    assert found.frames == (
        "own.py:8 in handle",
        "lib/far.py:4 in fetch",
        "socket.py:706 in readinto",
    )


def test_without_a_stack_there_is_no_place() -> None:
    assert find_stack(GROUP.splitlines()) is None


# ---- its lines


def test_a_traceback_is_returned_whole_with_the_users_file_names() -> None:
    text = f"""\
Invoking custom service failed.
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/ts/service.py", line 134, in predict
    ret = self._entry_point(input_batch, self.context)
  File "{UNPACKED}/own.py", line 8, in handle
    float("x")
ValueError: could not convert string to float: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "{UNPACKED}/own.py", line 10, in handle
    raise KeyError("x") from error
KeyError: 'x'
\tand more
[METRICS]HandlerTime
"""
    shown = traceback_lines(text.splitlines(), lambda entry: f"handlers/{entry}")
    plain = text.replace(UNPACKED, "handlers").replace("/venv/lib/python3.11/site-packages/", "")
    assert shown == plain.splitlines()[1:-1]


def test_of_a_masked_import_only_the_true_exception_is_shown() -> None:
    shown = traceback_lines(MASKED_IMPORT_ERROR.splitlines())
    assert shown[-1] == "ModuleNotFoundError: No module named 'image_classifer'"
    assert '  File "digit_classifier.py", line 7, in <module>' in shown


def test_without_a_traceback_there_are_no_lines() -> None:
    assert traceback_lines(STARTED.splitlines()) == []


def test_the_module_that_is_missing_is_named() -> None:
    assert missing_module("ModuleNotFoundError: No module named 'a.b'") == "a.b"
    assert missing_module("KeyError: 'a'") is None
