"""The OpenAPI 3.1 document of what a gateway serves; no IO."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any

from marsmith import __version__
from marsmith.answers.forms import MULTIPART
from marsmith.gateway.document.bodies import BYTES, JSON, Body
from marsmith.gateway.document.forms import Forms, path_of, sample_path
from marsmith.gateway.document.schemas import Schema, schema_of
from marsmith.gateway.problems import PROBLEM

_SENT = ("image/jpeg", "image/png", "image/webp")
_FILE: Schema = {"type": "string", "format": "binary"}
_PROBLEM: Schema = {
    "type": "object",
    "description": "A problem detail (RFC 9457).",
    "properties": {
        "status": {"type": "integer"},
        **{key: {"type": "string"} for key in ("type", "title", "detail", "code", "hint")},
        "request_id": {"type": "string"},
    },
    "required": ["status", "detail", "code", "hint"],
}
_PROBLEM_ANSWER = {
    "description": "Why there is no answer, and what to do about it.",
    "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_REFUSED = {"4XX": _PROBLEM_ANSWER, "5XX": _PROBLEM_ANSWER}


def document(models: Mapping[str, Forms]) -> dict[str, Any]:
    """Describe the models of these names."""
    ids = _operation_ids(models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Models",
            "version": __version__,
            "description": "Made from the archives that are served: forms, schemas and examples "
            "are those of their samples. A key, where the gateway demands one, goes into the "
            "header Authorization: Bearer KEY.",
        },
        "security": [{}, {"key": []}],
        "tags": [{"name": name} for name in models],
        "paths": {
            f"{path_of(name)}/predict": _asking(name, ids[name], one)
            for name, one in models.items()
        },
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation_ids(names: Iterable[str]) -> dict[str, str]:
    """Return an identifier for each name; names that differ only in signs get numbers."""
    ids: dict[str, str] = {}
    for name in sorted(names):
        plain = "predict_" + re.sub(r"\W", "_", name, flags=re.ASCII)
        numbered = (f"{plain}_{number}" for number in count(2))
        ids[name] = next(one for one in chain([plain], numbered) if one not in ids.values())
    return ids


def _asking(name: str, operation_id: str, forms: Forms) -> dict[str, Any]:
    return {
        "post": {
            "tags": [name],
            "operationId": operation_id,
            "summary": f"Ask {name}",
            "parameters": _headers(forms),
            "requestBody": {"required": True, "content": _taken(name, forms)},
            "responses": {
                "200": {"description": "The model's answer.", "content": _given(name, forms)},
                **_REFUSED,
            },
        }
    }


def _headers(forms: Forms) -> list[dict[str, Any]]:
    """Return the headers that samples are asked with, as parameters."""
    found: dict[str, str] = {}
    for example in forms.examples:
        for name, value in example.more_headers.items():
            found.setdefault(name.lower(), value)
    return [
        {"name": name, "in": "header", "schema": {"type": "string"}, "example": value}
        for name, value in found.items()
    ]


def _taken(name: str, forms: Forms) -> dict[str, Any]:
    """Return the forms of a request: those of the samples first."""
    content = _by_type(name, "request", [one.request for one in forms.examples])
    if forms.pictures:
        content |= {kind: {"schema": _FILE} for kind in _SENT if kind not in content}
    if forms.ours or not content:
        content.setdefault(MULTIPART, {"schema": _object(data=_FILE)})
    if forms.ours:
        text = {"type": "string", "contentEncoding": "base64"}
        content.setdefault(JSON, {"schema": _object(image=text)})
    content.setdefault(BYTES, {"schema": _FILE})
    return content


def _given(name: str, forms: Forms) -> dict[str, Any]:
    content = _by_type(name, "answer", [one.answer for one in forms.examples])
    for kind in forms.offered:
        content.setdefault(kind, {"schema": _FILE if kind.startswith("image/") else {}})
    return content or {"*/*": {"schema": {}}}


def _by_type(name: str, part: str, bodies: Sequence[Body]) -> dict[str, Any]:
    """Return bodies by media type, with a schema and examples."""
    content: dict[str, Any] = {}
    for number, body in enumerate(bodies):
        entry = content.setdefault(body.media_type, {"schema": _FILE, "examples": {}})
        example = {"externalValue": sample_path(name, number, part)}
        if body.value is not None:
            example = {"value": body.value}
        entry["examples"][f"sample {number}"] = {"summary": f"Sample {number}", **example}
    for kind, entry in content.items():
        same = [one for one in bodies if one.media_type == kind]
        if kind == JSON or kind.startswith("text/"):
            entry["schema"] = schema_of([one.value for one in same if one.value is not None])
        elif kind == MULTIPART:
            entry["schema"] = _form(same)
    return content


def _form(bodies: Sequence[Body]) -> Schema:
    """Return the schema of forms: all their fields, of which those of each form are required."""
    found = {
        field.name: _FILE if field.is_file else {"type": "string"}
        for body in bodies
        for field in body.fields
    }
    if not found:
        return _FILE
    names = [{field.name for field in body.fields} for body in bodies]
    always = [name for name in found if all(name in one for one in names)]
    schema: Schema = {"type": "object", "properties": found}
    return schema | {"required": always} if always else schema


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
