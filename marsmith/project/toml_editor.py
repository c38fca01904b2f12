"""Change single values in a TOML text, and leave every other character as it is; no IO.

tomllib only reads, and what writes TOML anew loses comments or needs a library for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

Value = str | int | float | bool | None

_HEADER = re.compile(r"\s*\[\[?\s*[A-Za-z0-9_\-\"']")
_VALUE = r"(\"[^\"]*\"|'[^']*'|[^#\s\"'\[{][^#]*?)"


def with_values(text: str, table: tuple[str, ...], values: Mapping[str, Value]) -> str:
    """Return the text with other values for keys of one table; None takes a key out.

    Keys that are new come at the table's end; a table that is new, after those that stand below
    the same parent. What is written in a way that this does not know (values over several lines,
    inline tables) comes out wrong or twice: whoever calls compares what the result says with
    what it should.
    """
    lines = text.split("\n")
    block = _block(lines, table)
    if block is None:
        wanted = {key: value for key, value in values.items() if value is not None}
        return _with_table(lines, table, wanted) if wanted else text
    start, end = block
    new = []
    for key, value in values.items():
        pattern = re.compile(rf"(\s*[\"']?{re.escape(key)}[\"']?\s*=\s*){_VALUE}(\s*(?:#.*)?)$")
        found = next((n for n in range(start + 1, end) if pattern.match(lines[n])), None)
        if found is None:
            new += [f"{key} = {_written(value)}"] if value is not None else []
        elif value is None:
            del lines[found]
            end -= 1
        elif match := pattern.match(lines[found]):
            lines[found] = f"{match[1]}{_written(value)}{match[3]}"
    place = _last_value(lines, start, end) + 1
    return "\n".join([*lines[:place], *new, *lines[place:]])


def with_items(text: str, table: tuple[str, ...], key: str, items: Sequence[str]) -> str:
    """Return the text with more texts at the end of a list, which may go over several lines."""
    lines = text.split("\n")
    block = _block(lines, table)
    if not items or block is None:
        return text
    own = re.compile(rf"\s*{re.escape(key)}\s*=\s*\[")
    start = next((n for n in range(*block) if own.match(lines[n])), None)
    if start is None:
        written = ", ".join(map(_written, items))
        place = _last_value(lines, *block) + 1
        return "\n".join([*lines[:place], f"{key} = [{written}]", *lines[place:]])
    if lines[start].rstrip().endswith("["):
        end = next(n for n in range(start + 1, block[1]) if lines[n].strip().startswith("]"))
        return "\n".join([*lines[:end], *(f"    {_written(one)}," for one in items), *lines[end:]])
    head, _, tail = lines[start].rpartition("]")
    comma = "" if head.rstrip().endswith(("[", ",")) else ", "
    lines[start] = f"{head}{comma}{', '.join(map(_written, items))}]{tail}"
    return "\n".join(lines)


def _block(lines: list[str], table: tuple[str, ...]) -> tuple[int, int] | None:
    """Return the line of a table's header, and the one after its last."""
    dotted = r"\s*\.\s*".join(rf"[\"']?{re.escape(name)}[\"']?" for name in table)
    own = re.compile(rf"\s*\[\s*{dotted}\s*\]")
    headers = [n for n, line in enumerate(lines) if _HEADER.match(line)]
    for start, end in zip(headers, [*headers[1:], len(lines)], strict=True):
        if own.match(lines[start]):
            return start, end
    return None


def _with_table(lines: list[str], table: tuple[str, ...], values: Mapping[str, Value]) -> str:
    """Return the text with a table more: after its parent and the parent's other tables."""
    parent = r"\s*\.\s*".join(rf"[\"']?{re.escape(name)}[\"']?" for name in table[:-1])
    own = re.compile(rf"\s*\[\s*{parent}\s*[\].]")
    headers = [n for n, line in enumerate(lines) if _HEADER.match(line)]
    blocks = zip(headers, [*headers[1:], len(lines)], strict=True)
    place = max((_last_value(lines, a, b) + 1 for a, b in blocks if own.match(lines[a])), default=0)
    header = ".".join(name if re.fullmatch(r"[\w-]+", name) else f'"{name}"' for name in table)
    entry = ["", f"[{header}]", *(f"{key} = {_written(value)}" for key, value in values.items())]
    return "\n".join([*lines[:place], *entry, *lines[place:]])


def _last_value(lines: list[str], start: int, end: int) -> int:
    """Return a block's last line that is neither empty nor a comment: those belong to the next."""
    used = (
        n for n in range(start, end) if lines[n].strip() and not lines[n].lstrip().startswith("#")
    )
    return max(used, default=start)


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
