"""marsmith_handlers/image_request.py: all the ways an image or a tensor may come in."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from marsmith_handlers.image_request import MAX_IMAGES, RequestError, read_request

from tests.handlers.asking import SEVEN

TEXT = base64.b64encode(SEVEN).decode()
WRAPPED = base64.encodebytes(SEVEN)
URL = f"data:image/png;base64,{TEXT}"
VALUES = np.linspace(-1, 1, 784, dtype="<f4")


def v2(data: Any, shape: Any, datatype: str = "BYTES", **more: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": shape, "datatype": datatype, "data": data}
    return {"inputs": [tensor], **more}


ONE_IMAGE: dict[str, dict[str, Any]] = {
    "raw": {"body": SEVEN},
    "raw, bytearray": {"body": bytearray(SEVEN)},
    "form, data": {"data": SEVEN},
    "form, image": {"image": SEVEN},
    "form, file": {"file": SEVEN},
    "form, body": {"body": SEVEN},
    "form, empty fields beside": {"image": SEVEN, "file": b"", "data": ""},
    "form, base64": {"image": TEXT.encode()},
    "text": {"body": TEXT},
    "text, wrapped": {"body": WRAPPED.decode()},
    "text, CRLF": {"body": WRAPPED.replace(b"\n", b"\r\n")},
    "text, spaces around": {"body": f"\n  {TEXT}  \n"},
    "text as bytes": {"body": TEXT.encode()},
    "data URL": {"body": URL},
    "data URL as bytes": {"data": URL.encode()},
    "JSON, image": {"body": {"image": TEXT}},
    "JSON, data": {"body": {"data": TEXT}},
    "JSON, data URL": {"body": {"image": URL}},
    "JSON, wrapped": {"body": {"image": WRAPPED.decode()}},
    "JSON, b64 within": {"body": {"image": {"b64": TEXT}}},
    "JSON, b64": {"body": {"b64": TEXT}},
    "JSON not parsed": {"body": json.dumps({"image": TEXT}).encode()},
    "JSON not parsed, blank before": {"data": b" \n" + json.dumps({"image": URL}).encode()},
    "JSON as text": {"body": json.dumps({"image": TEXT})},
}


@pytest.mark.parametrize("fields", ONE_IMAGE.values(), ids=ONE_IMAGE)
def test_one_image_comes_in_many_ways(fields: dict[str, Any]) -> None:
    request = read_request(fields)
    assert (request.items, request.protocol, request.id) == ([SEVEN], "plain", None)


@pytest.mark.parametrize("entry", [{"b64": TEXT}, {"image": {"b64": TEXT}}, {"data": URL}, TEXT])
def test_kserve_v1_holds_several_images(entry: Any) -> None:
    request = read_request({"body": {"instances": [entry, {"b64": TEXT}]}})
    assert (request.items, request.protocol) == ([SEVEN, SEVEN], "instances")


def test_kserve_v2_holds_several_images_and_an_id() -> None:
    request = read_request({"body": v2([TEXT, URL], [2], id="a-1", parameters={})})
    assert (request.items, request.protocol, request.id) == ([SEVEN, SEVEN], "inputs", "a-1")


@pytest.mark.parametrize("nested", [False, True])
def test_kserve_v2_holds_tensors(nested: bool) -> None:
    values = np.stack([VALUES, -VALUES]).reshape(2, 1, 28, 28)
    data = values.tolist() if nested else values.ravel().tolist()
    first, second = read_request({"body": v2(data, [2, 1, 28, 28], "FP32")}).items
    assert isinstance(first, np.ndarray)
    assert first.dtype == np.float32
    assert np.array_equal(first, VALUES.reshape(1, 28, 28))
    assert np.array_equal(second, -VALUES.reshape(1, 28, 28))


@pytest.mark.parametrize("metadata", [{"dims": [1, 28, 28]}, b'{"dims": [1, 1, 28, 28]}'])
def test_a_raw_tensor_is_little_endian_float32_of_the_dims(metadata: Any) -> None:
    (tensor,) = read_request({"data": VALUES.tobytes(), "metadata": metadata}).items
    assert isinstance(tensor, np.ndarray)
    assert tensor.shape == (1, 28, 28)
    assert np.array_equal(tensor.ravel(), VALUES)


def test_a_plain_text_picture_is_not_taken_for_base64() -> None:
    portable = b"P1\n2\n2\n0110\n"
    assert read_request({"body": portable}).items == [portable]


RAW = VALUES.tobytes()
REFUSED: dict[str, tuple[Any, int, str]] = {
    "nothing": ({}, 400, "no_image"),
    "empty body": ({"body": b""}, 400, "no_image"),
    "empty base64": ({"body": "data:image/png;base64,"}, 400, "no_image"),
    "unknown field": ({"picture": SEVEN}, 400, "unknown_field"),
    "unknown beside": ({"data": SEVEN, "x": b"1"}, 400, "unknown_field"),
    "two images": ({"data": SEVEN, "image": SEVEN}, 400, "several_images"),
    "JSON list": ({"body": [TEXT]}, 400, "malformed"),
    "JSON number": ({"body": 7}, 400, "malformed"),
    "JSON true": ({"body": True}, 400, "malformed"),
    "JSON cut": ({"body": b'{"image": "'}, 400, "malformed"),
    "JSON deep": ({"body": b'{"image":' + b"[" * 100_000}, 400, "malformed"),
    "JSON without image": ({"body": {}}, 400, "malformed"),
    "JSON unknown": ({"body": {"picture": TEXT}}, 400, "unknown_field"),
    "JSON unknown beside": ({"body": {"image": TEXT, "x": 1}}, 400, "unknown_field"),
    "JSON number as image": ({"body": {"image": 7}}, 400, "malformed"),
    "JSON null": ({"body": {"image": None}}, 400, "malformed"),
    "JSON two images": ({"body": {"image": TEXT, "data": TEXT}}, 400, "malformed"),
    "JSON too deep an image": ({"body": {"image": {"image": {"b64": TEXT}}}}, 400, "malformed"),
    "bad base64": ({"body": {"image": TEXT[:-3]}}, 400, "bad_base64"),
    "bad base64, letters": ({"body": {"image": "no base64!"}}, 400, "bad_base64"),
    "bad base64, accents": ({"body": {"image": "bäse64=="}}, 400, "bad_base64"),
    "bad base64, raw": ({"body": TEXT[:-3].encode()}, 400, "bad_base64"),
    "lone surrogate": ({"body": {"image": "\ud800"}}, 400, "bad_base64"),
    "lone surrogate, escaped": ({"body": b'{"image": "iVBO\\udc00"}'}, 400, "bad_base64"),
    "lone surrogate, v1": ({"body": {"instances": [TEXT, "\udfff"]}}, 400, "bad_base64"),
    "lone surrogate, v2": ({"body": v2(["\ud83d"], [1])}, 400, "bad_base64"),
    "lone surrogate, text": ({"data": "\ud83d"}, 400, "bad_base64"),
    "lone surrogate, metadata": ({"data": RAW, "metadata": "\ud83d"}, 400, "malformed"),
    "lone surrogate, key": ({"body": {"\ud83d": TEXT}}, 400, "unknown_field"),
    "v2 id, nested": ({"body": v2([TEXT], [1], id=[[]])}, 400, "malformed"),
    "number of 10,000 digits": ({"body": b'{"image": ' + b"9" * 10_000 + b"}"}, 400, "malformed"),
    "data URL without base64": ({"body": "data:image/png,abc"}, 400, "bad_base64"),
    "data URL without data": ({"body": "data:image/png;base64"}, 400, "bad_base64"),
    "v1 empty": ({"body": {"instances": []}}, 400, "malformed"),
    "v1 no list": ({"body": {"instances": {"b64": TEXT}}}, 400, "malformed"),
    "v1 unknown": ({"body": {"instances": [{"b65": TEXT}]}}, 400, "unknown_field"),
    "v1 one bad": ({"body": {"instances": [{"b64": TEXT}, {"b64": "!"}]}}, 400, "bad_base64"),
    "v1 many": ({"body": {"instances": [TEXT] * (MAX_IMAGES + 1)}}, 413, "too_many_images"),
    "v2 empty": ({"body": {"inputs": []}}, 400, "malformed"),
    "v2 two": ({"body": {"inputs": v2([TEXT], [1])["inputs"] * 2}}, 400, "malformed"),
    "v2 no tensor": ({"body": {"inputs": [TEXT]}}, 400, "malformed"),
    "v2 no shape": ({"body": {"inputs": [{"name": "a", "data": [TEXT]}]}}, 400, "malformed"),
    "v2 datatype": ({"body": v2([1], [1], "INT64")}, 400, "malformed"),
    "v2 shape": ({"body": v2([TEXT], [2])}, 400, "wrong_dims"),
    "v2 negative shape": ({"body": v2([TEXT], [-1])}, 400, "malformed"),
    "v2 huge shape": ({"body": v2([0.0], [1 << 30] * 4, "FP32")}, 400, "wrong_dims"),
    "v2 text as numbers": ({"body": v2(["a"], [1, 1, 1, 1], "FP32")}, 400, "wrong_dims"),
    "v2 ragged": ({"body": v2([[1.0], [1.0, 2.0]], [1, 1, 1, 3], "FP32")}, 400, "wrong_dims"),
    "v2 flat image": ({"body": v2([0.0], [1], "FP32")}, 400, "wrong_dims"),
    "v2 NaN": ({"body": v2([float("nan")], [1, 1, 1, 1], "FP32")}, 400, "not_finite"),
    "v2 many": ({"body": v2([TEXT] * 65, [65])}, 413, "too_many_images"),
    "tensor, short": ({"data": RAW[:-4], "metadata": {"dims": [1, 28, 28]}}, 400, "wrong_dims"),
    "tensor, dims": ({"data": RAW, "metadata": {"dims": [1, 28, 29]}}, 400, "wrong_dims"),
    "tensor, no dims": ({"data": RAW, "metadata": {}}, 400, "malformed"),
    "tensor, dims text": ({"data": RAW, "metadata": {"dims": "28"}}, 400, "malformed"),
    "tensor, dims true": ({"data": RAW, "metadata": {"dims": [True]}}, 400, "malformed"),
    "tensor, metadata text": ({"data": RAW, "metadata": b"28"}, 400, "malformed"),
    "tensor, metadata cut": ({"data": RAW, "metadata": b'{"dims'}, 400, "malformed"),
    "tensor, unknown": (
        {"data": RAW, "metadata": {"dims": [1, 28, 28], "dtype": "f8"}},
        400,
        "unknown_field",
    ),
    "tensor, text": ({"data": "abc", "metadata": {"dims": [1]}}, 400, "wrong_dims"),
    "tensor, NaN": ({"data": b"\0\0\xc0\x7f", "metadata": {"dims": [1]}}, 400, "not_finite"),
    "metadata alone": ({"metadata": {"dims": [1]}}, 400, "no_image"),
}


def test_fewer_images_can_be_allowed() -> None:
    with pytest.raises(RequestError) as caught:
        read_request({"body": {"instances": [TEXT] * 3}}, 2)
    assert caught.value.code == "too_many_images"
    assert len(read_request({"body": v2([TEXT] * 2, [2])}, 2).items) == 2


@pytest.mark.parametrize(("fields", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named(fields: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(fields)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.hint
