"""One route of `[gateway.routes]`: what it takes, asks and answers; no IO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

JSON, TEXT = "application/json", "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Fixed:
    """A configured answer: a status, and a template (project/answer_template.py)."""

    status: int
    body: Any = ""


@dataclass(frozen=True)
class ClientRoute:
    """The keys are explained in docs/reference/archives-toml.md."""

    path: str
    model: str
    version: str | None = None
    fields: Sequence[str] = ()
    input: Literal["bytes", "base64"] = "bytes"
    output: Literal["bytes", "base64", "base64-lines"] = "bytes"
    event: bool = False
    content_type: str = ""
    answer: Any = None
    missing: Fixed | None = None
    failure: Fixed | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def accept(self) -> str:
        """What the model is asked for; empty leaves it to the caller's Accept."""
        return self.content_type if self.answer is None else JSON


def routes_of(table: Mapping[str, Any]) -> list[ClientRoute]:
    """Return the routes of a valid table `[gateway]`."""
    return [_route(path, values) for path, values in table.get("routes", {}).items()]


def _route(path: str, values: Mapping[str, Any]) -> ClientRoute:
    fixed = {key: Fixed(**values[key]) for key in ("missing", "failure") if key in values}
    return ClientRoute(path, **(dict(values) | fixed))
