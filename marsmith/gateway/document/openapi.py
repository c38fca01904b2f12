"""The OpenAPI 3.1 document of what a gateway serves; no IO."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from marsmith import __version__
from marsmith.answers.forms import MULTIPART
from marsmith.gateway.document.forms import BYTES, JSON, TEXT, Body, Forms, path_of
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
        "paths": {f"{path_of(name)}/predict": _asking(name, one) for name, one in models.items()},
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _asking(name: str, forms: Forms) -> dict[str, Any]:
    return {
        "post": {
            "tags": [name],
            "operationId": "predict_" + re.sub(r"\W", "_", name),
            "summary": f"Ask {name}",
            "requestBody": {"required": True, "content": _taken(name, forms)},
            "responses": {
                "200": {"description": "The model's answer.", "content": _given(name, forms)},
                **_REFUSED,
            },
        }
    }


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
    return content or {"*/*": {"schema": {}}}


def _by_type(name: str, part: str, bodies: Sequence[Body]) -> dict[str, Any]:
    """Return bodies by media type, with a schema and examples."""
    content: dict[str, Any] = {}
    for number, body in enumerate(bodies):
        kind = body.content_type.partition(";")[0].strip().lower()
        entry = content.setdefault(kind, {"schema": _FILE, "examples": {}})
        example = {"externalValue": f"{path_of(name)}/samples/{number}/{part}"}
        if body.value is not None:
            example = {"value": body.value}
        entry["examples"][f"sample {number}"] = {"summary": f"Sample {number}", **example}
    for kind in (JSON, TEXT):
        if kind in content:
            same = [one for one in bodies if one.content_type.partition(";")[0] == kind]
            values = [one.value for one in same if one.value is not None]
            content[kind]["schema"] = schema_of(values)
    return content


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
