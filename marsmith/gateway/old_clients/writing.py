"""Answers as existing clients expect them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from marsmith.answers.messages import Response as HandlersResponse
from marsmith.core.errors import MarsmithError
from marsmith.gateway.old_clients.route import JSON, TEXT, ClientRoute, Fixed
from marsmith.gateway.problems import PROBLEM, problem
from marsmith.gateway.refusals import GatewayError
from marsmith.project.answer_template import as_text, filled


@dataclass(frozen=True)
class Written:
    """A body before it is sent, and its content type."""

    body: bytes
    content_type: str
    status: int = 200


def written(route: ClientRoute, said: HandlersResponse) -> Written:
    """Return a handler's answer as the route has it. Raises GatewayError (answer-template)."""
    if route.answer is not None:
        return _from_template(route, said.values)
    if route.output == "bytes":
        return Written(said.body, said.headers.get("content-type", ""))
    encode = base64.encodebytes if route.output == "base64-lines" else base64.b64encode
    return Written(encode(said.body), TEXT)


def fixed(answer: Fixed, error: MarsmithError) -> Written:
    """Return a configured answer to a request that failed."""
    values = {"message": error.message, "hint": error.hint, "code": error.code}
    return _json_or_text(filled(answer.body, values), answer.status)


def problem_details(error: MarsmithError, request_id: str) -> Written:
    """Return an error as problem details."""
    said = problem(error, request_id)
    return Written(bytes(said.body), PROBLEM, said.status_code)


def sent(route: ClientRoute, answer: Written, headers: Mapping[str, str]) -> Response:
    """Return what goes over the wire; an event's answer is 200 with its status inside."""
    if route.event:
        answer = Written(_event(answer).encode(), JSON)
    named = {"content-type": answer.content_type} if answer.content_type else {}
    return Response(answer.body, answer.status, {**headers, **named, **_lower(route.headers)})


def _event(answer: Written) -> str:
    """Return an answer as AWS Lambda has it, where bytes that are no text are base64."""
    event: dict[str, Any] = {"statusCode": answer.status}
    try:
        event["body"] = answer.body.decode()
    except UnicodeDecodeError:
        event |= {"body": base64.b64encode(answer.body).decode(), "isBase64Encoded": True}
    return json.dumps(event)


def _from_template(route: ClientRoute, values: Any) -> Written:
    try:
        found = _json_or_text(filled(route.answer, values))
    except LookupError as error:
        raise GatewayError(
            f"the answer of {route.model} has no {error}, which the route {route.path} names",
            "correct `answer` of that route in archives.toml",
            code="answer-template",
            status=500,
        ) from error
    return Written(found.body, route.content_type or found.content_type)


def _json_or_text(value: Any, status: int = 200) -> Written:
    kind = JSON if isinstance(value, (dict, list)) else TEXT
    return Written(as_text(value).encode(errors="replace"), kind, status)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
