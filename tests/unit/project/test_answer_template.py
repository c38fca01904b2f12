"""marsmith/project/answer_template.py."""

from __future__ import annotations

from typing import Any

import pytest

from marsmith.project.answer_template import as_text, filled, placeholders

SEVEN = {"label": "7", "index": 7, "top": [{"p": 0.5}, {"p": 0.25}], "a b": None}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${label}", "7"),
        ("${index}", 7),
        ("is ${index}: ${top.1.p}", "is 7: 0.25"),
        ("${top}", [{"p": 0.5}, {"p": 0.25}]),
        ("all: ${a b}, ${top}", 'all: null, [{"p": 0.5}, {"p": 0.25}]'),
        ("${}", SEVEN),
        ("$${label} costs $$5", "${label} costs $5"),
        ("$", "$"),
        ("${label", "${label"),
        (["예측한 값은: ${label}입니다."], ["예측한 값은: 7입니다."]),
        ({"result": "${index}", "n": [1, True]}, {"result": 7, "n": [1, True]}),
        ("", ""),
    ],
)
def test_placeholders_are_replaced(template: Any, expected: Any) -> None:
    assert filled(template, SEVEN) == expected


@pytest.mark.parametrize("path", ["lable", "label.0", "top.2", "top.-1", "top.p", "index.real"])
def test_a_placeholder_of_nothing_is_an_error(path: str) -> None:
    with pytest.raises(LookupError):
        filled(f"a ${{{path}}}", SEVEN)


def test_what_a_model_says_is_never_a_template() -> None:
    assert filled("${a}", {"a": "${b}", "b": "secret"}) == "${b}"


def test_placeholders_are_listed_wherever_they_stand() -> None:
    template = {"a": ["${x} and ${y.0}", 3], "b": "$$ ${}"}
    assert list(placeholders(template)) == ["x", "y.0", ""]


def test_text_stays_text_and_others_become_json() -> None:
    assert [as_text(one) for one in ("é", 7, True, ["é"])] == ["é", "7", "true", '["é"]']
