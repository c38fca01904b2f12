"""What a watched worker noted of itself (programs/watched_worker.py): read, and not believed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marsmith.torchserve.answer_faults import Returned

_LARGEST = 1 << 22  # bytes of one line


@dataclass(frozen=True)
class Notes:
    """`network` are the addresses that it asked for, `calls` the first calls of its model.

    `writes` are paths that it could not write.

    `loose` are the names that loads of weights with strict=False left apart: "missing" in the
    weights, "unexpected" in them. `returned` is what the handler returned last, if it cannot be
    sent.
    """

    network: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    loose: list[dict[str, list[str]]] = field(default_factory=list)
    returned: Returned | None = None


def read_notes(path: Path) -> Notes:
    """Read a worker's notes; empty where there are none. The archive's code can write there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LARGEST))
            lines = file.read().split(b"\n")
        values = json.loads(lines[-2])  # the last whole one
        return Notes(
            [str(one) for one in values["network"]],
            [str(one) for one in values["writes"]],
            [dict(one) for one in values["calls"]],
            [
                {kind: [str(name) for name in one[kind]] for kind in ("missing", "unexpected")}
                for one in values["loose"]
            ],
            _returned(values["returned"]),
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return Notes()


def _returned(values: Any) -> Returned | None:
    if values is None:
        return None
    count, shape = values["count"], values["shape"]
    return Returned(
        int(values["requests"]),
        str(values["type"]),
        None if count is None else int(count),
        None if shape is None else tuple(int(one) for one in shape),
        str(values["place"]),
        str(values["value"]),
    )
