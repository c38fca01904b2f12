"""The table of a new archive in archives.toml; what stands there already stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from marsmith.core.errors import ProjectError
from marsmith.project.spec import SPEC_FILE, parse_spec
from marsmith.project.toml_editor import require_only, with_table

_HEAD = """\
# What goes into each archive: one table each. `marsmith build` makes model_store/NAME.mar of it.
"""


def with_archive(text: str | None, name: str, values: Mapping[str, Any]) -> str:
    """Return the text with the tables of one more archive; `comments` begin their table.

    Raises ProjectError if it has an archive of that name, or cannot be added to.
    """
    before = _HEAD if text is None else text
    require_absent(before, name)
    changed = _with_tables(before, name, values)
    alone = parse_spec(_with_tables("", name, values))
    require_only(before, changed, alone.archives[name])
    return changed


def require_absent(text: str, name: str) -> None:
    """Raise ProjectError if the text describes an archive of that name, or is not TOML."""
    try:
        archives = tomlkit.parse(text).unwrap().get("archives")
    except TOMLKitError as error:
        raise ProjectError(
            f"{SPEC_FILE} is not TOML: {error}", "correct it first", code="spec-syntax"
        ) from error
    if isinstance(archives, dict) and name in archives:
        raise ProjectError(
            f"{SPEC_FILE} describes an archive {name!r} already",
            "choose another name, or remove its tables first",
            code="archive-exists",
        )


def _with_tables(text: str, name: str, values: Mapping[str, Any]) -> str:
    inner = {key: one for key, one in values.items() if isinstance(one, Mapping)}
    own = {key: one for key, one in values.items() if key not in inner}
    text = with_table(text, ("archives", name), own)
    for key, table in inner.items():
        plain = {one: value for one, value in table.items() if one != "comments"}
        text = with_table(text, ("archives", name, key), plain, table.get("comments", ()))
    return text
