"""The names of a model's classes, from `index_to_name.json` as TorchServe takes it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

NAMES_FILE = "index_to_name.json"
_EXAMPLE = '{"0": "name of the first class", "1": …}'
_MOST_DIGITS = 9  # of a class index


def read_names(folder: Path) -> dict[int, str]:
    """Read the file of an archive, index → name; nothing if there is none. Raises ValueError."""
    path = folder / NAMES_FILE
    if not path.exists():
        return {}
    try:
        return parse_names(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{NAMES_FILE}: {error}") from error


def parse_names(text: str) -> dict[int, str]:
    """Return index → name. Raises ValueError if the text is no such map.

    A name is text, or a list whose last part is the name: {"0": ["n01440764", "tench"]}.
    """
    try:
        values = json.loads(text, object_pairs_hook=_once_each)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"not a map of indices to names: write {_EXAMPLE}")
    if isinstance(values.get("object_type_names"), list):  # a form that TorchServe takes, too
        values = {str(index): name for index, name in enumerate(values["object_type_names"])}
    if not values:
        raise ValueError(f"it names no class: write {_EXAMPLE}, or leave the file out")
    if all(type(value) is int for value in values.values()):
        raise ValueError(f"it maps names to indices: turn it around, {_EXAMPLE}")
    return {_index(key): _name(key, value) for key, value in values.items()}


def check_count(names: dict[int, str], count: int) -> None:
    """Raise ValueError unless the names are those of the classes 0 … count - 1."""
    if not names or names.keys() == set(range(count)):
        return
    if names.keys() == set(range(1, count + 1)):
        raise ValueError(f"{NAMES_FILE} counts from 1, and a model's classes from 0")
    message = f"{NAMES_FILE} has {len(names)} names, and the model {count} classes"
    if missing := set(range(count)) - names.keys():
        message += f": no name for class {min(missing)}"
    raise ValueError(message)


def unique_names(names: dict[int, str], count: int) -> list[str]:
    """Return one text per class: its name, "name (index)" if others share it, or its index."""
    found = [names.get(index, str(index)) for index in range(count)]
    uses = Counter(found)
    texts = [f"{name} ({i})" if uses[name] > 1 else name for i, name in enumerate(found)]
    if len(set(texts)) == count:
        return texts
    return [f"{name} ({i})" for i, name in enumerate(found)]  # one was named like that already


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raise ValueError for a key that stands there twice: JSON would take the last one."""
    uses = Counter(key for key, _ in pairs)
    if repeated := [key for key, number in uses.items() if number > 1]:
        raise ValueError(f"the key {repeated[0]!r:.40} stands there twice: name each class once")
    return dict(pairs)


def _index(key: str) -> int:
    if key.isdecimal() and len(key) <= _MOST_DIGITS and str(int(key)) == key:
        return int(key)
    raise ValueError(f"the key {key!r:.40} is no class index: write {_EXAMPLE}")


def _name(key: str, value: Any) -> str:
    name = value[-1] if isinstance(value, list) and value else value
    if isinstance(name, str):
        if not name.strip():
            raise ValueError(f"the name of class {key} is empty: write text")
        return name
    raise ValueError(f"the name of class {key} is {value!r}: write text, or a list that ends in it")
