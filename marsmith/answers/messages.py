"""Requests and responses of a server or of a worker; no IO."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """A body, or one field of a form."""

    name: str
    value: bytes
    content_type: str = ""


@dataclass(frozen=True)
class Request:
    """One request, as the front end passes it to a worker."""

    parameters: tuple[Parameter, ...]
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, body: bytes, content_type: str = "", headers: Mapping[str, str] | None = None
    ) -> Request:
        """Return a request with a raw body, as `curl -T` sends it."""
        typed = {"Content-Type": content_type} if content_type else {}
        given = {"Accept": "*/*", **typed, **(headers or {})}
        return cls((Parameter("body", body, content_type),), given)


@dataclass(frozen=True)
class Response:
    """TorchServe's answer to one request."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def content_type(self) -> str:
        """The media type, without parameters; empty if the handler gave none."""
        return self.headers.get("content-type", "").partition(";")[0].strip()

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the body as JSON values. Raises ValueError if it is not JSON."""
        return json.loads(self.body)

    @property
    def values(self) -> Any:
        """The body as JSON values, or as text if it is not JSON."""
        try:
            return self.json()
        except (ValueError, RecursionError):
            return self.text

    @property
    def complaint(self) -> str:
        """The reason that a refusal gives, in one line."""
        values = self.values
        error = values.get("error", values) if isinstance(values, dict) else values
        message = error.get("message") if isinstance(error, dict) else error
        return str(message or self.reason or "no reason given").partition("\n")[0]
