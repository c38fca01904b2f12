"""marsmith/torchserve/worker_lines.py."""

from __future__ import annotations

from marsmith.torchserve.worker_lines import model_lines, with_source_names, worker_has_ended
from tests.unit.torchserve.worker_logs import UNPACKED, logged


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


def test_a_worker_has_ended_once_the_front_end_or_the_worker_says_so() -> None:
    thread = "2026-11-21T00:10:31,053 W-9000-digits_1.0"
    front = f"{thread} WARN WorkerThread Backend worker thread exception.\n"
    died = f"{thread}-stdout Backend worker process died.\n"
    assert not worker_has_ended("", f"{thread}-stdout Torch worker started.\n", "digits", "1.0")
    assert worker_has_ended(front, "", "digits", "1.0")
    assert worker_has_ended("", died, "digits", "1.0")
    assert not worker_has_ended(front, died, "digits", "2.0")


def test_paths_of_a_temporary_folder_become_the_users_files() -> None:
    files = {"digits.py": "handlers/digits.py"}
    text = f'  File "{UNPACKED}/digits.py", line 3\n  File "/v/lib/site-packages/ts/service.py"'
    assert with_source_names(text, lambda entry: files[entry]) == (
        '  File "handlers/digits.py", line 3\n  File "ts/service.py"'
    )
    assert with_source_names(f"in {UNPACKED} itself", str) == "in  itself"
