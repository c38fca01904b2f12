"""Requests of files and of forms whose fields are files, as the command line and clients send them.

A .json file is sent as JSON, and a .form file, which holds the body of a form, as a form. Other
files have no content type unless one is given: handlers take their bytes. In a form that is made
here each file has the type that its ending tells, as browsers and curl do it.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from marsmith.answers.forms import FORM, Field, form, type_of_form
from marsmith.answers.messages import Request
from marsmith.core.errors import ClientError

JSON = "application/json"
_ENDINGS = mimetypes.MimeTypes()  # Python's own table, which no file of the machine changes


@dataclass(frozen=True)
class Input:
    """A request that a user named: a file, or a form. `name` is how answers are labelled.

    `content_type` and `headers` are those that were given with it.
    """

    name: str
    path: Path | None = None
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Sequence[Field] = ()

    def request(self) -> Request:
        """Return the request. Raises ClientError if the file cannot be read."""
        if self.path is None:
            return replace(form(self.fields), headers=self.headers)
        return file_request(self.path, self.content_type, self.headers)


def accepting(request: Request, accept: str) -> Request:
    """Return a request for certain content types, unless its own headers say so."""
    return replace(request, headers=request.sent_headers(accept))


def likely_type(name: str) -> str:
    """Return the content type of a file that is a whole body, as far as its name tells it."""
    return JSON if PurePath(name).suffix.lower() == ".json" else ""


def file_request(
    path: Path, content_type: str = "", headers: Mapping[str, str] | None = None
) -> Request:
    """Return a request with a file as its body. Raises ClientError if it cannot be read."""
    body = read_file(path)
    if not content_type and path.suffix.lower() == FORM:
        content_type = type_of_form(body)
    return Request(body, content_type or likely_type(path.name), headers or {})


def file_field(name: str, path: Path, content_type: str = "") -> Field:
    """Return a field of a form that holds a file. Raises ClientError if it cannot be read."""
    guessed = _ENDINGS.guess_type(path.name)[0] or ""
    return Field(name, read_file(path), path.name, content_type or guessed)


def form_request(fields: Mapping[str, str | bytes | Path]) -> Request:
    """Return a request with a form: texts, bytes, or files by their paths.

    Raises ClientError if a file cannot be read, or for a name that a form cannot have.
    """
    return form([_field(name, value) for name, value in fields.items()])


def _field(name: str, value: str | bytes | Path) -> Field:
    if isinstance(value, Path):
        return file_field(name, value)
    if isinstance(value, bytes):
        return Field(name, value, name)
    return Field(name, value.encode())


def read_file(path: Path) -> bytes:
    """Return what a file holds. Raises ClientError if it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: not a path
        why = getattr(error, "strerror", None) or error
        raise ClientError(
            f"{str(path)!r} cannot be read: {why}",
            "name a file that can be read",
            code="unreadable-file",
        ) from error
