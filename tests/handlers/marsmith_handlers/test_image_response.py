"""marsmith_handlers/image_response.py: the content type of an answer, and how it is shaped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from marsmith_handlers.image_request import ImageRequest, RequestError
from marsmith_handlers.image_response import JSON, TEXT, accepted_type, respond

from tests.handlers.asking import DIGIT_MODEL, new_context

OFFERED = ("image/jpeg", "image/png", "image/webp", JSON)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "image/jpeg"),
        ("", "image/jpeg"),
        ("*/*", "image/jpeg"),
        ("text/html, image/gif, *; q=.2", "image/jpeg"),
        (",,,", "image/jpeg"),
        ("image/*", "image/jpeg"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("application/json", JSON),
        ("application/*", JSON),
        ("text/plain, image/webp", "image/webp"),
        ("image/png;q=0.5, image/webp;q=0.8", "image/webp"),
        ("image/png; q=0.5 , */*; q=0.1", "image/png"),
        ("image/jpeg;q=0, */*", "image/png"),
        ("image/*;q=0, */*", JSON),
        ("application/json;charset=utf-8", JSON),
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
            "image/webp",
        ),
        ("image/png;q=broken", "image/png"),
        ("image/png;q=9", "image/png"),
        (",;,", None),
        ("text/plain", None),
        ("image/jpeg;q=0", None),
        ("*/*;q=0", None),
        ("image", None),
    ],
)
def test_the_accept_header_decides(accept: str | None, chosen: str | None) -> None:
    context = new_context([{} if accept is None else {"accept": accept}], DIGIT_MODEL, {})
    if chosen is not None:
        assert accepted_type(context, 0, OFFERED) == chosen
        return
    with pytest.raises(RequestError) as caught:
        accepted_type(context, 0, OFFERED)
    assert (caught.value.status, caught.value.code) == (406, "not_acceptable")
    assert "image/webp" in caught.value.hint


def test_a_field_of_a_form_is_no_accept_header() -> None:
    context = new_context([{"Accept": {"content-type": "image/png"}}], DIGIT_MODEL, {})
    assert accepted_type(context, 0, OFFERED) == "image/jpeg"


def shaped(request: ImageRequest, answers: list[Any], content_type: str = JSON) -> Any:
    context = new_context([{}], DIGIT_MODEL, {})
    body = respond(context, 0, request, content_type, answers)
    assert context.get_response_headers(0)["content-type"].startswith(content_type)
    return body if content_type != JSON else json.loads(body)


def test_plain_answers_are_bytes_text_or_json() -> None:
    plain = ImageRequest([b""])
    assert shaped(plain, [b"\x89PNG"], "image/png") == b"\x89PNG"
    assert shaped(plain, ["sevén"], TEXT) == "sevén".encode()
    assert shaped(plain, [{"label": "7"}]) == {"label": "7"}


def test_kserve_answers_hold_one_entry_per_image() -> None:
    answers = [
        {"label": "7", "sure": True, "degree": 90, "confidence": 0.5, "all": {"7": 1}},
        {"label": "3", "sure": False, "degree": 0, "confidence": 0.25, "all": {"3": 1}},
    ]
    assert shaped(ImageRequest([b"", b""], "instances"), answers) == {"predictions": answers}
    inputs = shaped(ImageRequest([b"", b""], "inputs", "a-1"), answers)
    assert (inputs["id"], inputs["model_name"], inputs["model_version"]) == ("a-1", "model", "1.0")
    columns = {one["name"]: (one["datatype"], one["data"]) for one in inputs["outputs"]}
    assert all(one["shape"] == [2] for one in inputs["outputs"])
    assert columns == {
        "label": ("BYTES", ["7", "3"]),
        "sure": ("BOOL", [True, False]),
        "degree": ("INT64", [90, 0]),
        "confidence": ("FP64", [0.5, 0.25]),
        "all": ("BYTES", ['{"7": 1}', '{"3": 1}']),
    }


def test_an_answer_that_is_no_number_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        shaped(ImageRequest([b""]), [{"confidence": float("nan")}])
