"""Change single values in a TOML text; comments, order and all other values stay. No IO."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, InlineTable, Item, Table

from marsmith.core.errors import ProjectError
from marsmith.project.spec import SPEC_FILE, ArchiveSpec, parse_spec

Value = str | int | float | bool | dict[str, str] | None
Path = tuple[str, ...]
_Table = MutableMapping[str, Any]


def with_values(text: str, path: Path, values: Mapping[str, Value]) -> str:
    """Return the text with other values for keys of one table; None removes a key.

    New keys come behind the table's others. A new table comes behind those of its parent.
    """
    document = _parse(text)
    table = _find(document, path)
    wanted = {key: value for key, value in values.items() if value is not None}
    if table is not None:
        for key in values.keys() - wanted.keys():
            table.pop(key, None)
        _set(table, wanted)
    elif wanted:
        _add_table(document, path, f"[{_dotted(path)}]", wanted)
    return tomlkit.dumps(document)


def with_items(text: str, path: Path, key: str, items: Sequence[str]) -> str:
    """Return the text with more texts at the end of a list; without a list, with a new one."""
    document = _parse(text)
    table = _find(document, path)
    if table is None or not items:
        return text
    if key in table:
        table[key].extend(items)
    else:
        _set(table, {key: list(items)})
    return tomlkit.dumps(document)


def with_entry(
    text: str,
    path: Path,
    identity: str,
    values: Mapping[str, Value],
    defaults: Mapping[str, Value],
) -> str:
    """Return the text with values for that entry of a list of tables that has the same identity.

    Where there is none, it is added. What equals its default is not written anew.
    """
    document = _parse(text)
    *parents, key = path
    parent = _find(document, tuple(parents))
    entries = parent.get(key) if parent is not None else None
    same = (one for one in entries or () if one.get(identity) == values[identity])
    entry = next(same, None)
    wanted = {
        name: value
        for name, value in values.items()
        if value != defaults.get(name) or name in (entry or ())
    }
    if entry is not None:
        _set(entry, wanted)
    elif entries is None or isinstance(entries, AoT):
        _add_table(document, path, f"[[{_dotted(path)}]]", wanted)
    else:
        new = tomlkit.inline_table()
        new.update({name: _item(value) for name, value in wanted.items()})
        entries.append(new)
    return tomlkit.dumps(document)


def with_table(
    text: str, path: Path, values: Mapping[str, Any], comments: Sequence[str] = ()
) -> str:
    """Return the text with a new table at its end; the comments come first in it."""
    start = text if text.endswith("\n") or not text else f"{text}\n"
    notes = "".join(f"# {comment}\n" for comment in comments)
    return f"{start}\n[{_dotted(path)}]\n{notes}{_lines(values)}"


def require_only(text: str, changed: str, wanted: ArchiveSpec) -> None:
    """Raise ProjectError unless a changed `archives.toml` differs from `text` in one archive.

    A TOML text can be written in ways that no edit of single values fits.
    """
    try:
        before, found = parse_spec(text), parse_spec(changed)
        same = found.archives == before.archives | {wanted.name: wanted}
    except ProjectError as error:
        raise _not_editable() from error
    if not same or any(one not in before.problems for one in found.problems):
        raise _not_editable()


def _parse(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise _not_editable() from error


def _not_editable() -> ProjectError:
    return ProjectError(
        f"{SPEC_FILE} is written in a way that Marsmith cannot change",
        "write tables with headers, such as [archives.NAME.serving] and [[archives.NAME.samples]]",
        code="spec-not-editable",
    )


def _find(document: _Table, path: Path) -> _Table | None:
    table: Any = document
    for name in path:
        table = table.get(name)
        if not isinstance(table, MutableMapping):
            return None
    found: _Table = table
    return found


def _set(table: _Table, values: Mapping[str, Any]) -> None:
    new = {key: value for key, value in values.items() if key not in table}
    for key, value in values.items():
        if key not in new and table[key] != value:
            table[key] = _item(value)
    own = [one for one in _items(table) if not isinstance(one, (Table, AoT))]
    last = own[-1] if own else table
    if isinstance(table, InlineTable) or not isinstance(last, Item):
        table.update({key: _item(value) for key, value in new.items()})
    elif new:  # tomlkit would put them behind the comments that belong to the next table
        _write_behind(last, _lines(new))


def _add_table(document: _Table, path: Path, header: str, values: Mapping[str, Value]) -> None:
    """Add a table behind the last value that its parent has anywhere."""
    last: Any = _find(document, path[:-1])
    while last is not None and (items := _items(last)):
        last = items[-1]
    if not isinstance(last, Item):
        last = _items(document)[-1]
    _write_behind(last, f"\n{header}\n{_lines(values)}")


def _items(table: Any) -> list[Any]:
    """Return the items of a table or a list of tables, as they stand in the text."""
    if isinstance(table, AoT):
        return list(table.body)
    if isinstance(table, Table):
        return [item for key, item in table.value.body if key is not None]
    if isinstance(table, Mapping) and not isinstance(table, InlineTable):
        return [item for item in table.values() if isinstance(item, Item)]
    return []


def _write_behind(item: Any, text: str) -> None:
    trail = item.trivia.trail
    item.trivia.trail = (trail if trail.endswith("\n") else f"{trail}\n") + text


def _item(value: Any) -> Any:
    """Return a value as it is written behind a key; a table on one line."""
    if not isinstance(value, dict):
        return value
    inline = tomlkit.inline_table()
    inline.update(value)
    return inline


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(
        f"{tomlkit.key(key).as_string()} = {tomlkit.item(_item(value)).as_string()}\n"
        for key, value in values.items()
    )


def _dotted(path: Path) -> str:
    return ".".join(tomlkit.key(name).as_string() for name in path)
