"""Requests and responses of a server or of a worker; no IO."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What a header can hold (RFC 9110, 5.5).
HEADER_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
HEADER_VALUE = r"^[!-~]([ -~]*[!-~])?$"


@dataclass(frozen=True)
class Request:
    """One request, as a client sends it: a body, its content type if it has one, other headers.

    answers/requests.py makes them of files and of the fields of a form.
    """

    body: bytes
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)  # equal ones count

    @property
    def sent_type(self) -> str:
        """The content type, wherever it is said; empty if it is not."""
        for name, value in self.headers.items():
            if name.lower() == "content-type":
                return value
        return self.content_type

    def sent_headers(self, accept: str = "*/*") -> dict[str, str]:
        """Return all headers; those that the request itself names come before the usual ones."""
        named = set(map(str.lower, self.headers))
        usual = {} if "accept" in named else {"Accept": accept}
        if self.content_type and "content-type" not in named:
            usual["Content-Type"] = self.content_type
        return {**usual, **self.headers}


def is_success(status: int) -> bool:
    """Tell whether a status is 2xx."""
    return 200 <= status < 300


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
        return is_success(self.status)

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
