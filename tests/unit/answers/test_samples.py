"""marsmith/answers/samples.py."""

from __future__ import annotations

import pytest

from marsmith.answers.samples import Sample, difference, format_samples, parse_samples
from marsmith.core.errors import ArchiveError
from tests.codes import coded, tells


def test_an_index_reads_back_as_it_was_written() -> None:
    samples = (
        Sample("samples/a.png", "samples/a.json", 1e-3),
        Sample("samples/ü", "b", 0.0, kind="data"),
    )
    assert parse_samples(format_samples(samples)) == samples
    assert parse_samples(format_samples(())) == ()


@pytest.mark.parametrize(
    ("expected", "actual", "tolerance"),
    [
        (b'{"a": 1, "b": [2, 3]}', b'{"b":[2,3],"a":1}', 0.0),
        (b'{"a": 1.0}', b'{"a": 1.0009}', 1e-3),
        (b"1", b"1.0", 0.0),
        (b"[true, null]", b"[true,null]\n", 0.0),
        (b"plain\n", b"plain", 0.0),
        (b"\xff\x00", b"\xff\x00", 0.0),
        (b"", b"", 0.0),
        (b"1e400", b"1e400", 0.0),
    ],
)
def test_equal_answers_have_no_difference(expected: bytes, actual: bytes, tolerance: float) -> None:
    assert difference(expected, actual, tolerance) is None


@pytest.mark.parametrize(
    ("expected", "actual", "place", "values"),
    [
        (b'{"a": 1}', b'{"a": 2}', "a: ", [1, 2]),
        (b'{"a": 1}', b"{}", "a: ", []),
        (b"{}", b'{"a": 1}', "a: ", []),
        (b'{"a": {"b": 1}}', b'{"a": {}}', "a.b: ", []),
        (b'{"a": [{"b": 1}]}', b'{"a": [{"b": "1"}]}', "a[0].b: ", [1, "'1'"]),
        (b"[1, 2]", b"[1]", "", ["[1, 2]", "[1]"]),
        (b"[1]", b"[5]", "[0]: ", [1, 5]),
        (b"1", b"true", "", [1, "True"]),
        (b"false", b"0", "", ["False", 0]),
        (b"{}", b"[]", "", ["{}", "[]"]),
        (b"null", b"0", "", ["None", 0]),
        (b"1", b"plain", "", [1, "plain"]),
        (b"a", b"b", "", ["a", "b"]),
        (b"0", b"NaN", "", [0, "nan"]),
    ],
)
def test_a_difference_is_one_line_that_says_where(
    expected: bytes, actual: bytes, place: str, values: list[object]
) -> None:
    said = difference(expected, actual, 0.1)
    assert said is not None
    assert said.startswith(place)
    assert tells(said, *values)
    assert "\n" not in said


def test_numbers_outside_the_tolerance_differ() -> None:
    assert difference(b"[0.5]", b"[0.6]", 0.11) is None
    assert tells(difference(b"[0.5]", b"[0.6]", 0.09), "[0]:", 0.5, 0.6)


def test_integers_too_large_for_a_float_are_compared_all_the_same() -> None:
    huge = b"1" + b"0" * 400
    assert difference(huge, huge, 0.1) is None
    assert difference(huge, b"1", 0.1) is not None


def test_long_answers_are_cut() -> None:
    said = difference(b"a" * 1000, b"b" * 1000, 0.0)
    assert said is not None
    assert len(said) < 200
    assert "…" in said


def test_a_kind_that_nothing_says_is_not_written_and_an_unknown_one_is_refused() -> None:
    plain = format_samples((Sample("a", "b", 0.0),))
    assert b"kind" not in plain
    wrong = plain.replace(b'"largest"', b'"kind": "photo", "largest"')
    with pytest.raises(ArchiveError, check=coded("samples-unreadable")):
        parse_samples(wrong)
