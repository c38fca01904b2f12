"""Medians and ratios of scripts/bench, what it keeps, and the document that it writes of that."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import document, plot, results
from bench.results import (
    Comparison,
    Goal,
    Result,
    Series,
    Table,
    beside_first,
    compare,
    worst_growth,
)

GOAL = Goal("work", "others", 2.0)
OURS = Series("Marsmith", [10.0, 12.0, 11.0])
SLOW = Series("slow", [1.0, 1.0, 1.0])
QUICK = Series("quick", [5.0, 4.0, 5.5])
BROKEN = Series("broken", failure="status 503")


def result(*comparisons: Comparison) -> Result:
    table = Table("requests/s", "requests/s", [OURS, QUICK, BROKEN])
    return Result("trial", [table], list(comparisons), date="today", command="scripts/bench trial")


def test_ratio_is_the_median_of_the_rounds_ratios_to_the_best() -> None:
    found = compare(GOAL, OURS, [SLOW, QUICK])
    assert (found.theirs, found.ratio, found.reached) == ("quick", 2.0, True)
    assert found.spread == [2.0, 3.0]


def test_where_less_is_better_the_best_is_the_least() -> None:
    found = compare(Goal("p50", "others", 1.1, at_most=True), OURS, [SLOW, QUICK], less=True)
    assert (found.theirs, found.ratio, found.reached) == ("slow", 11.0, False)


def test_who_failed_is_not_compared_with() -> None:
    assert compare(GOAL, OURS, [BROKEN, SLOW]).theirs == "slow"


def test_our_own_failure_is_told_and_reaches_no_goal() -> None:
    found = compare(GOAL, BROKEN, [QUICK])
    assert found.ratio is None
    assert not found.reached
    assert found.note == "broken: status 503"


@pytest.mark.parametrize(
    ("amounts", "costs", "growth"),
    [((1, 2, 4), (1, 2, 4), 1.0), ((1, 2, 4), (1, 1, 1), 0.5), ((1, 2, 4), (1, 1, 4), 2.0)],
)
def test_growth(amounts: tuple[float, ...], costs: tuple[float, ...], growth: float) -> None:
    assert worst_growth(amounts, costs) == growth


def test_medians_are_told_beside_the_first_of_a_table() -> None:
    told = beside_first(Table("images/s", "images/s", [QUICK, OURS, BROKEN]))
    assert told == "images/s, beside quick: Marsmith 2.20 x."


def test_a_result_comes_back_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    kept = result(compare(GOAL, OURS, [QUICK]))
    results.save(kept)
    assert results.read(tmp_path / "trial.json") == kept


def test_the_document_says_plainly_what_falls_short() -> None:
    text = document.as_markdown([result(compare(Goal("work", "others", 3.0), OURS, [QUICK]))])
    assert "| work | others (quick) | ≥ 3 x | 2.00 x (2.00 to 3.00) | **falls short** |" in text
    assert "What falls short:" in text
    assert "| broken | failed | status 503 |" in text
    assert "`scripts/bench trial`, today" in text


def test_the_document_says_when_all_is_reached() -> None:
    text = document.as_markdown([result(compare(GOAL, OURS, [QUICK]))])
    assert "All goals are reached." in text


def test_pictures_are_well_formed() -> None:
    bars = plot.ratios([compare(GOAL, OURS, [QUICK]), compare(GOAL, BROKEN, [QUICK])])
    table = Table("a < b & c", "ms", [OURS, BROKEN])
    for picture in (bars, plot.curves([table], {"a < b & c": [1, 10, 100]})):
        root = ElementTree.fromstring(picture)  # noqa: S314
        assert root.tag.endswith("svg")
        assert len(root) > 1  # more than the ground
