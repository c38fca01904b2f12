"""JSON Schemas (2020-12) inferred from examples; no IO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def schema_of(examples: Sequence[Any]) -> Schema:
    """Return a schema that holds for all examples, which are JSON values.

    An object whose values are all fractions is a table, of labels to scores say: its keys vary.
    """
    if all(isinstance(one, dict) for one in examples) and examples:
        return _object(examples)
    if all(isinstance(one, list) for one in examples) and examples:
        items = [item for one in examples for item in one]
        return {"type": "array", "items": schema_of(items)} if items else {"type": "array"}
    names = {_NAMES.get(type(one), "") for one in examples}
    if "number" in names:
        names.discard("integer")
    if not names or "" in names:
        return {}
    return {"type": names.pop() if len(names) == 1 else sorted(names)}


def _object(examples: Sequence[dict[str, Any]]) -> Schema:
    values = [value for one in examples for value in one.values()]
    if values and all(isinstance(value, float) for value in values):
        return {"type": "object", "additionalProperties": {"type": "number"}}
    keys = list(dict.fromkeys(key for one in examples for key in one))
    found = {key: schema_of([one[key] for one in examples if key in one]) for key in keys}
    always = [key for key in keys if all(key in one for one in examples)]
    schema: Schema = {"type": "object", "properties": found}
    return schema | {"required": always} if always else schema
