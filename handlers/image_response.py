"""Answers in the form that a request asks for, and refusals, each with its own status."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

from image_codec import encode_image
from image_request import ImageRequest, RequestError
from PIL import Image

JSON, TEXT = "application/json", "text/plain"


class Context(Protocol):
    """What these handlers use of `ts.context.Context`."""

    manifest: dict[str, Any]
    model_yaml_config: dict[str, Any]
    system_properties: dict[str, Any]

    def get_all_request_header(self, idx: int) -> dict[str, Any]: ...
    def get_request_id(self, idx: int = 0) -> str | None: ...
    def set_response_content_type(self, idx: int, value: str) -> None: ...
    def set_response_header(self, idx: int, key: str, value: str) -> None: ...
    def set_response_status(self, code: int, phrase: str, idx: int) -> None: ...


def accepted_type(context: Context, index: int, offered: Sequence[str]) -> str:
    """Return which of the offered content types a request's Accept header prefers (RFC 9110, 12.5).

    Without one it is the first, and of equals the earlier. Raises RequestError (406) for none.
    """
    headers = context.get_all_request_header(index)  # among them are the fields of a form
    values = [v for k, v in headers.items() if k.lower() == "accept" and isinstance(v, str)]
    accept = ",".join(values).lower()
    wishes = dict(_wish(part) for part in accept.split(",") if part.strip())
    if not wishes:
        return offered[0]

    def quality(content_type: str) -> float:
        patterns = (content_type, content_type.split("/")[0] + "/*", "*/*")
        return next((wishes[one] for one in patterns if one in wishes), 0.0)

    best = max(offered, key=quality)
    if quality(best) <= 0:
        message = "none of the content types that the Accept header names is offered"
        raise RequestError(406, "not_acceptable", message, f"offered here: {', '.join(offered)}")
    return best


def _wish(part: str) -> tuple[str, float]:
    content_type, *parameters = (piece.strip() for piece in part.split(";"))
    if content_type == "*":
        content_type = "*/*"  # some old clients, Java's among them, shorten it
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return content_type, min(max(float(value), 0.0), 1.0)
            except ValueError:
                break
    return content_type, 1.0


def write_image(image: Image.Image, content_type: str) -> Any:
    """Return an image as bytes of that type, or for JSON as {"image": base64, "content_type"}."""
    if content_type != JSON:
        return encode_image(image, content_type)
    data = base64.b64encode(encode_image(image, "image/jpeg")).decode()
    return {"image": data, "content_type": "image/jpeg"}


def respond(
    context: Context, index: int, request: ImageRequest, content_type: str, answers: list[Any]
) -> bytes:
    """Give a request of the batch its answers: bytes and text as they are, all else as JSON."""
    body: Any = answers[0]
    if request.protocol == "instances":
        body = {"predictions": answers}
    elif request.protocol == "inputs":
        model = context.manifest.get("model", {})
        body = {"model_name": model.get("modelName"), "model_version": model.get("modelVersion")}
        body |= {"outputs": _columns(answers)} | ({"id": request.id} if request.id else {})
    charset = "; charset=utf-8" if content_type == TEXT else ""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        body = json.dumps(body, allow_nan=False).encode()
    context.set_response_content_type(index, content_type + charset)
    context.set_response_header(index, "Cache-Control", "no-store")
    return bytes(body)


def refuse(context: Context, index: int, error: RequestError) -> bytes:
    """Give a request of the batch its own status and an error body, always as JSON."""
    context.set_response_status(error.status, HTTPStatus(error.status).phrase, index)
    context.set_response_content_type(index, JSON)
    context.set_response_header(index, "Cache-Control", "no-store")
    body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    return json.dumps(body).encode()


def _columns(answers: list[Any]) -> list[dict[str, Any]]:
    """Turn one answer per image into KServe v2's outputs: one tensor [N] per key of the answers."""
    rows = [answer if isinstance(answer, dict) else {"output": answer} for answer in answers]
    outputs = []
    for name in rows[0]:
        column = [row[name] for row in rows]
        kinds = {bool: "BOOL", int: "INT64", float: "FP64"}
        same = {type(value) for value in column}
        datatype = kinds.get(same.pop(), "BYTES") if len(same) == 1 else "BYTES"
        if datatype == "BYTES":
            column = [one if isinstance(one, str) else json.dumps(one) for one in column]
        outputs.append({"name": name, "shape": [len(rows)], "datatype": datatype, "data": column})
    return outputs
