"""The table of a new archive in archives.toml; what stands there already stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from marsmith.core.errors import ProjectError
from marsmith.project.spec import SPEC_FILE

_HEAD = """\
# What goes into each archive: one table each. `marsmith build` makes model_store/NAME.mar of it.
"""


def with_archive(text: str | None, name: str, values: Mapping[str, Any]) -> str:
    """Return the text with one table more. Raises ProjectError if it has one of that name."""
    try:
        document = tomlkit.parse(_HEAD if text is None else text)
    except TOMLKitError as error:
        raise ProjectError(
            f"{SPEC_FILE} is not TOML: {error}", "correct it first", code="spec-syntax"
        ) from error
    archives: Any = document.setdefault("archives", tomlkit.table(is_super_table=True))
    if name in archives:
        raise ProjectError(
            f"{SPEC_FILE} describes an archive {name!r} already",
            "choose another name, or remove its tables first",
            code="archive-exists",
        )
    archives.append(name, _table(values))
    return tomlkit.dumps(document)


def _table(values: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for comment in _comments(values):
        table.add(tomlkit.comment(comment))
    for key, value in values.items():
        if key == "comments":
            continue
        if isinstance(value, Mapping):
            table.append(key, _table(value))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            tables = tomlkit.aot()
            for one in value:
                tables.append(_table(one))
            table.append(key, tables)
        else:
            table.append(key, value)
    return table


def _comments(values: Mapping[str, Any]) -> Sequence[str]:
    found: Sequence[str] = values.get("comments", ())
    return found
