"""A run of all trials goes on, whatever becomes of one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import document, results, trials
from bench.failures import BenchError, SystemFailedError
from bench.results import Comparison, Goal, Result, Series, Table
from bench.rounds import TRIAL, Effort
from bench.trials import Trial


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], Result]:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(trials, "_LONGEST", 0.2)

    def measured(step: Callable[[], None]) -> Result:
        def trial(_: Effort) -> Result:
            step()
            return Result("one", [Table("t", "ms", [Series("a", [1.0])])])

        monkeypatch.setitem(trials.TRIALS, "one", Trial("a trial", trial))
        told = trials.run("one", TRIAL)
        assert results.read(tmp_path / "one.json") == told  # kept at once
        return told

    return measured


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error", [SystemFailedError("broken"), BenchError("broken", "hint"), OSError("broken")]
)
def test_what_fails_is_written_as_failed(
    run: Callable[[Callable[[], None]], Result], error: Exception
) -> None:
    told = run(lambda: _raise(error))
    assert (told.tables, told.comparisons) == ([], [])
    assert "broken" in told.notes[0]


def test_what_takes_too_long_is_ended(run: Callable[[Callable[[], None]], Result]) -> None:
    begin = time.monotonic()
    assert run(lambda: time.sleep(30)).tables == []
    assert time.monotonic() - begin < 5
    assert run(lambda: None).tables  # the next one has time of its own
    time.sleep(0.3)  # and none is ended later


def test_profiles_have_a_page_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(document, "RESULTS", tmp_path)
    monkeypatch.setattr(document, "DOCUMENT", tmp_path / "benchmarks.md")
    for trial in ("digits", "profiles"):
        results.save(Result(trial, [Table(f"of {trial}", "ms", [Series("a", [3.0, 1.0, 2.0])])]))
    document.write()
    pages = [(tmp_path / name).read_text() for name in ("benchmarks.md", "profiles.md")]
    assert [("of digits" in page, "of profiles" in page) for page in pages] == [
        (True, False),
        (False, True),
    ]
    assert all("| a | 2 | 1 to 3, 3 values |" in page for page in pages)


def test_a_row_that_was_measured_once_says_so() -> None:
    goal = Goal("work", "others", 1.0)
    text = document.as_markdown([Result("one", comparisons=[Comparison(goal, "a", "b", 2.0)])])
    assert "2.00 x (measured once)" in text
