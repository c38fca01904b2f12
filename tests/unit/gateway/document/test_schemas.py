"""Schemas inferred from examples."""

from __future__ import annotations

from typing import Any

import pytest

from marsmith.gateway.document.schemas import schema_of

TABLE = {"type": "object", "additionalProperties": {"type": "number"}}
INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("examples", "schema"),
    [
        ([1, 2], INTEGER),
        ([1, 2.5], {"type": "number"}),
        ([True], {"type": "boolean"}),
        ([None, "a"], {"type": ["null", "string"]}),
        (["a", {"b": 1}], {}),
        ([], {}),
        ([[]], {"type": "array"}),
        ([[1], [2.5, 3]], {"type": "array", "items": {"type": "number"}}),
        ([{"cat": 0.9, "dog": 0.1}, {"cow": 1.0}], TABLE),
        (
            [{"a": 1, "b": 2}, {"a": 3}],
            {"type": "object", "properties": {"a": INTEGER, "b": INTEGER}, "required": ["a"]},
        ),
        ([{"a": 1}, {"b": 2}], {"type": "object", "properties": {"a": INTEGER, "b": INTEGER}}),
        ([{}], {"type": "object", "properties": {}}),
        (
            [{"label": "7", "probabilities": {"7": 1.0, "1": 0.0}}],
            {
                "type": "object",
                "properties": {"label": {"type": "string"}, "probabilities": TABLE},
                "required": ["label", "probabilities"],
            },
        ),
    ],
)
def test_a_schema_holds_for_all_examples(examples: list[Any], schema: dict[str, Any]) -> None:
    assert schema_of(examples) == schema
