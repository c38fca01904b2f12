"""10,000 made-up requests: never our own fault, never a wrong neighbour."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marsmith_handlers.image_classifier import ImageClassifier
from PIL import Image

from tests.handlers.asking import DIGIT_MODEL, SEVEN, encoded, new_context, start

THREE = encoded(Image.new("RGB", (9, 5), "olive"), "JPEG")
KNOWN = [SEVEN, THREE, encoded(Image.new("RGBA", (3, 3))), encoded(Image.new("L", (2, 2)), "GIF")]
STATUSES = {200, 400, 406, 413, 415}
CASES = 10_000


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Cut, lengthen or change a real picture."""
    body = bytearray(draw(st.sampled_from(KNOWN)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)


bodies = st.one_of(damaged(), st.binary(max_size=64), st.text(max_size=64).map(str.encode))
base64_text = bodies.map(lambda body: base64.b64encode(body).decode())
texts = st.one_of(
    base64_text, st.text(max_size=40), base64_text.map("data:image/png;base64,{}".format)
)
names = st.sampled_from(["image", "data", "file", "body", "b64", "instances", "inputs", "id", "x"])
values = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers(-9, 99), st.floats(), names),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(names, inner, max_size=3),
        st.fixed_dictionaries(
            {
                "name": st.just("image"),
                "shape": st.lists(st.integers(-1, 30), max_size=5),
                "datatype": st.sampled_from(["BYTES", "FP32", "INT64"]),
                "data": st.lists(inner, max_size=3),
            }
        ),
    ),
    max_leaves=8,
)
metadata = st.one_of(
    bodies,
    values,
    st.fixed_dictionaries({"dims": st.lists(st.integers(-1, 30), max_size=5)}),
    st.just(b'{"dims": [1, 28, 28]}'),
)
fields = st.one_of(
    bodies.map(lambda body: {"body": body}),
    texts.map(lambda text: {"body": text}),
    values.map(lambda value: {"body": value}),
    values.map(lambda value: {"body": json.dumps(value).encode()}),
    st.dictionaries(
        st.sampled_from(["data", "image", "file", "body", "metadata", "x", ""]),
        st.one_of(bodies, texts, values, metadata, st.just(np.zeros(784, "<f4").tobytes())),
        max_size=3,
    ),
)
accepts = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.sampled_from(["*/*", "text/plain", "image/png", "application/json;q=0.1, text/*"]),
)
requests = st.tuples(fields, accepts)


@pytest.fixture(scope="module")
def classifier() -> Any:
    return start(ImageClassifier())


@settings(
    max_examples=CASES // 4,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(made_up=st.lists(requests, min_size=4, max_size=4), place=st.integers(0, 4))
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged files
def test_no_request_is_our_fault_or_harms_its_neighbours(
    classifier: ImageClassifier, made_up: list[tuple[dict[str, Any], str | None]], place: int
) -> None:
    made_up = [*made_up[:place], ({"body": SEVEN}, None), *made_up[place:]]
    headers = [{} if accept is None else {"Accept": accept} for _, accept in made_up]
    context = new_context(headers, DIGIT_MODEL, {})
    bodies_ = classifier.handle([data for data, _ in made_up], context)
    for index, body in enumerate(bodies_):
        status, phrase = context.get_response_status(index)
        assert status in STATUSES, body
        assert isinstance(body, bytes)
        assert (phrase or "").isascii()  # TorchServe counts its characters, not its bytes
        if status != 200:
            assert json.loads(body)["error"].keys() == {"code", "message", "hint"}
    assert context.get_response_status(place)[0] == 200
    seven = json.loads(bodies_[place])
    assert seven["label"] == "7"
    assert seven["confidence"] > 0.99
