"""Rows as requests, and answers as columns."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from marsmith_handlers.image_request import read_request
from PIL import Image

from marsmith.answers.messages import Response
from marsmith.gateway.kserve.rows import Signature, outputs_of, requests_of
from marsmith.gateway.kserve.tensors import Tensor, json_of, tensor_of
from marsmith.gateway.refusals import GatewayError
from marsmith.torchserve.front_end import parameters_of
from tests.codes import coded


def tensor(datatype: str, data: Any, name: str = "x", **parameters: Any) -> Tensor:
    shape = list(np.shape(data))
    return tensor_of(name, datatype, shape, data, parameters)


def answer(body: Any, content_type: str = "") -> Response:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(200, "", {"content-type": content_type}, text)


def columns(*bodies: Any) -> dict[str, Any]:
    found = outputs_of([answer(body) for body in bodies])
    return {one.name: (one.datatype, list(one.shape), json_of(one)["data"]) for one in found}


@pytest.mark.parametrize(
    ("parameters", "form", "body", "content_type"),
    [
        ({}, Signature(), b"YQ==", ""),
        ({}, Signature(content_type="text/csv"), b"YQ==", "text/csv"),
        ({"content_type": "base64"}, Signature(), b"a", ""),
        ({"content_type": "str"}, Signature(), b"YQ==", ""),
        ({"content_type": "text/plain"}, Signature(content_type="text/csv"), b"YQ==", "text/plain"),
    ],
)
def test_an_element_of_bytes_is_a_body(
    parameters: dict[str, str], form: Signature, body: bytes, content_type: str
) -> None:
    for shaped in (["YQ==", "YQ=="], [["YQ=="], ["YQ=="]]):
        requests = requests_of([tensor("BYTES", shaped, **parameters)], form)
        assert [(one.body, one.content_type) for one in requests] == [(body, content_type)] * 2


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_pictures_without_loss(channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 4, 5, channels))
    requests = requests_of([tensor("UINT8", pixels.tolist())], Signature(pictures=True))
    for request, expected in zip(requests, pixels, strict=True):
        read = np.asarray(Image.open(io.BytesIO(request.body)))
        assert np.array_equal(read.reshape(expected.shape), expected)


def test_floats_are_tensors_for_our_handlers_and_lists_for_others() -> None:
    values = tensor("FP32", [[[[0.5, 0.25]]], [[[1.0, 0.0]]]])
    requests = requests_of([values], Signature(pictures=True, tensors=True))
    for request, expected in zip(requests, ([[[0.5, 0.25]]], [[[1.0, 0.0]]]), strict=True):
        fields = {one.name: one.value for one in parameters_of(request)}
        (read,) = read_request(fields).items
        assert isinstance(read, np.ndarray)
        assert read.tolist() == expected
    first, _ = requests_of([values], Signature())
    assert (first.body, first.content_type) == (b"[[[0.5,0.25]]]", "application/json")


def test_several_inputs_are_an_object_by_their_names() -> None:
    inputs = [tensor("INT64", [[1, 2], [3, 4]], "a"), tensor("BYTES", ["p", "q"], "b")]
    first, second = requests_of(inputs, Signature())
    assert json.loads(first.body) == {"a": [1, 2], "b": "p"}
    assert json.loads(second.body) == {"a": [3, 4], "b": "q"}


def test_one_input_is_an_object_where_the_model_takes_one() -> None:
    for one, value in ((tensor("FP64", [1.5]), 1.5), (tensor("BYTES", [["p", "q"]]), ["p", "q"])):
        (request,) = requests_of([one], Signature(keyed=True))
        assert json.loads(request.body) == {"x": value}
        (request,) = requests_of([one], Signature())
        assert json.loads(request.body) == value


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor("INT64", [1], "a"), tensor("INT64", [1, 2], "b")],
        [tensor("BYTES", ["é"], content_type="base64")],
        [tensor("BYTES", ["a"], content_type="text/plain\r\nX-Other: 1")],
        [tensor("BYTES", [b"\xff"], "a"), tensor("BYTES", ["b"], "b")],
        [Tensor("a", "FP32", (1,), np.array([np.nan], "f4"))],
        [Tensor("a", "FP32", (1, 1), np.array([[-np.inf]], "f4"))],
    ],
)
def test_rows_that_cannot_be_sent_are_refused(inputs: list[Tensor]) -> None:
    with pytest.raises(GatewayError, check=coded("malformed-request")):
        requests_of(inputs, Signature())


def test_keys_of_answers_are_outputs() -> None:
    rows = [{"a": 1, "b": "é", "c": True, "d": [[1, 2.5]], "e": {"f": 1}, "g": None, "h": 1 << 63}]
    assert columns(*rows, *rows) == {
        "a": ("INT64", [2], [1, 1]),
        "b": ("BYTES", [2], ["é", "é"]),
        "c": ("BOOL", [2], [True, True]),
        "d": ("FP64", [2, 1, 2], [1.0, 2.5, 1.0, 2.5]),
        "e": ("BYTES", [2], ['{"f":1}', '{"f":1}']),
        "g": ("BYTES", [2], ["null", "null"]),
        "h": ("BYTES", [2], [str(1 << 63)] * 2),
    }


@pytest.mark.parametrize(
    ("bodies", "output"),
    [
        (([0.5, 1], [2, 3.5]), ("FP64", [2, 2], [0.5, 1.0, 2.0, 3.5])),
        (([1], [2, 3]), ("BYTES", [2], ["[1]", "[2,3]"])),
        (([], []), ("BYTES", [2], ["[]", "[]"])),
        ((True, 1), ("BYTES", [2], ["true", "1"])),
        (({"a": 1}, {"b": 1}), ("BYTES", [2], ['{"a":1}', '{"b":1}'])),
        (({}, {}), ("BYTES", [2], ["{}", "{}"])),
        ((b"NaN",), ("BYTES", [1], ["NaN"])),
        ((b"\xff", b"a"), ("BYTES", [2], ["/w==", "YQ=="])),
        ((["p", "q"],), ("BYTES", [1, 2], ["p", "q"])),
        ((1e300, 1), ("FP64", [2], [1e300, 1.0])),
        ((1e300, 10**400), ("BYTES", [2], ["1e+300", str(10**400)])),
    ],
)
def test_other_answers_are_one_output(bodies: tuple[Any, ...], output: Any) -> None:
    assert columns(*bodies) == {"output": output}


def test_what_is_said_to_be_no_json_is_bytes() -> None:
    (one,) = outputs_of([answer(b"7", "text/plain; charset=utf-8")])
    assert (one.datatype, one.values) == ("BYTES", [b"7"])
