"""marsmith/torchserve/load_failure.py, on logs as TorchServe 0.12.0's workers write them."""

from __future__ import annotations

import pytest

from marsmith.torchserve.load_failure import Failure, explain, find_failure, model_lines

UNPACKED = "/tmp/marsmith-rlr34nm2/models/0f3a61c2b7d84e5f9a0b1c2d3e4f5a6b"  # noqa: S108
LOADER = "/venv/lib/python3.11/site-packages/ts/model_loader.py"
WORKER = "/venv/lib/python3.11/site-packages/ts/model_service_worker.py"

STARTED = """\
s_name_part0=/tmp/marsmith-rlr34nm2/.ts.sock, s_name_part1=9000, pid=7219
Listening on port: /tmp/marsmith-rlr34nm2/.ts.sock.9000
[PID]7219
Torch worker started.
Python runtime: 3.11.7
model_name: digits, batchSize: 32
"""

MASKED_IMPORT_ERROR = f"""\
Backend worker process died.
Traceback (most recent call last):
  File "{LOADER}", line 108, in load
    module, function_name = self._load_handler_file(handler)
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "{LOADER}", line 153, in _load_handler_file
    module = importlib.import_module(module_name)
  File "<frozen importlib._bootstrap>", line 1204, in _gcd_import
  File "{UNPACKED}/digit_classifier.py", line 7, in <module>
    from image_classifer import ImageClassifier
ModuleNotFoundError: No module named 'image_classifer'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "{WORKER}", line 301, in <module>
    worker.run_server()
  File "{LOADER}", line 110, in load
    module = self._load_default_handler(handler)
ModuleNotFoundError: No module named 'ts.torch_handler.digit_classifier'
"""

UNKNOWN_EXCEPTION = f"""\
Failed to load model digits, exception mean needs one number a channel
Traceback (most recent call last):
  File "{WORKER}", line 134, in load_model
    service = model_loader.load(
  File "{UNPACKED}/inner/image_handler.py", line 31, in initialize
    raise RuntimeError("mean needs one number a channel")
RuntimeError: mean needs one number a channel
Backend worker process died.
Traceback (most recent call last):
  File "{WORKER}", line 301, in <module>
    worker.run_server()
  File "{WORKER}", line 244, in handle_connection
    raise RuntimeError("{{}} - {{}}".format(code, result))
RuntimeError: 500 - Unknown exception
"""

SYNTAX_ERROR = f"""\
Backend worker process died.
Traceback (most recent call last):
  File "{LOADER}", line 153, in _load_handler_file
    module = importlib.import_module(module_name)
  File "{UNPACKED}/digit_classifier.py", line 3
    def f(:
          ^
SyntaxError: invalid syntax
"""

STATE_DICT = f"""\
Failed to load model digits, exception Error(s) in loading state_dict for ConvNet:
\tMissing key(s) in state_dict: "cn1.weight".
Traceback (most recent call last):
  File "{WORKER}", line 134, in load_model
    service = model_loader.load(
  File "{UNPACKED}/image_handler.py", line 40, in initialize
    model.load_state_dict(state_dict)
RuntimeError: Error(s) in loading state_dict for ConvNet:
\tMissing key(s) in state_dict: "cn1.weight", "cn1.bias".
\tsize mismatch for fc2.weight: copying a param with shape torch.Size([5, 64]).
Backend worker process died.
Traceback (most recent call last):
  File "{WORKER}", line 301, in <module>
    worker.run_server()
RuntimeError: 500 - Unknown exception
"""


def logged(text: str, worker: str = "W-9000-digits_1.0", stream: str = "stdout") -> list[str]:
    """Return a worker's output as lines of workers.log."""
    return [f"2026-11-21T00:10:31,053 {worker}-{stream} {line}" for line in text.splitlines()]


def failure_in(*lines: str) -> Failure | None:
    return find_failure(model_lines("\n".join(lines) + "\n", "digits", "1.0"))


def finding_of(text: str) -> tuple[str, str, str]:
    finding = explain(failure_in(*logged(STARTED + text)), "LOGS/workers.log")
    return finding.message, finding.hint, finding.location


# ---- which lines


def test_only_the_lines_of_one_model_and_version_are_taken() -> None:
    log = "\n".join(
        [
            *logged("ours"),
            *logged("another worker of ours", "W-9001-digits_1.0"),
            *logged("our errors", stream="stderr"),
            *logged("another version", "W-9002-digits_1.0.1"),
            *logged("another model", "W-9003-my-digits_1.0"),
            "what Java says",
            "",
        ]
    )
    assert model_lines(log, "digits", "1.0") == ["our errors", "ours", "another worker of ours"]


def test_indents_and_empty_lines_survive() -> None:
    assert model_lines("\n".join(logged("a\n\n  b\tc ")), "digits", "1.0") == ["a", "", "  b\tc "]


def test_a_name_with_dashes_is_told_apart() -> None:
    lines = logged("x", "W-9000-my-model-stdout_2.0")
    assert model_lines("\n".join(lines), "my-model-stdout", "2.0") == ["x"]


# ---- which exception


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


# ---- what to do


def test_no_failure_means_a_death_without_words() -> None:
    finding = explain(None, "LOGS/workers.log")
    assert "without an error message" in finding.message
    assert "LOGS/workers.log" in finding.hint


def test_a_missing_module_leads_to_extra_files_or_requirements() -> None:
    message, hint, location = finding_of(MASKED_IMPORT_ERROR)
    assert "No module named 'image_classifer'" in message
    assert "add it to extra_files" in hint
    assert "requirements_file" in hint
    assert location == "digit_classifier.py:7"


def test_captum_is_told_apart_from_files_of_ones_own() -> None:
    text = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'captum'\n"
    assert "pip install captum" in finding_of(text)[1]


@pytest.mark.parametrize(
    ("exception", "hint"),
    [
        ("RuntimeError: Error(s) in loading state_dict for Net:", "another architecture"),
        ("_pickle.UnpicklingError: Weights only load failed.", "more than tensors"),
        ("RuntimeError: PytorchStreamReader failed reading zip archive", "cut off or damaged"),
        ("EOFError: Ran out of input", "cut off or damaged"),
        ("SyntaxError: invalid syntax", "mend the line"),
        ("IndentationError: unexpected indent", "mend the line"),
        ("ValueError: unknown handler_config key 'sise'", "[archives.NAME.handler_config]"),
        ("TypeError: Net.__init__() missing 2 required positional arguments", "default values"),
        ("ValueError: Expected only one class in custom service code", "leave one class"),
        ("TypeError: Can't instantiate abstract class Handler", "implement the methods"),
        ("FileNotFoundError: [Errno 2] No such file: 'x.json'", "add it to extra_files"),
        ("torch.OutOfMemoryError: CUDA out of memory", "minWorkers"),
        ("ValueError: anything else", "the whole traceback is in LOGS/workers.log"),
    ],
)
def test_each_kind_of_failure_has_its_next_step(exception: str, hint: str) -> None:
    found = finding_of(f"Traceback (most recent call last):\n{exception}\n")
    assert (found[0], hint in found[1]) == (exception, True)


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


def test_without_a_log_the_hint_says_what_is_in_it() -> None:
    log = "Torch worker started.\nPython runtime: 3.11.7\nModel will not fit\n[METRICS]x:0|#y\n"
    assert explain(None, None, log).hint.endswith("its last lines: Model will not fit")
    assert explain(None, None, "[PID]5\n").hint.endswith("it said nothing")
    failure = find_failure(
        [
            "Traceback (most recent call last):",
            f'  File "{UNPACKED}/own.py", line 3, in initialize',
            '  File "<frozen os>", line 679, in __getitem__',
            f"KeyError: '{UNPACKED}/labels.txt'",
        ]
    )
    finding = explain(failure, None)
    assert finding.message == "KeyError: 'labels.txt'"
    assert finding.hint.endswith(
        "it was raised by <frozen os>:679 in __getitem__ ← own.py:3 in initialize"
    )
