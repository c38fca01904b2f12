"""Tensors as JSON values and as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from marsmith.gateway.kserve.tensors import DTYPES, Tensor, json_of, tensor_of, to_bytes
from marsmith.gateway.refusals import GatewayError
from tests.codes import coded


def made(datatype: str, shape: Any, data: Any) -> Tensor:
    return tensor_of("t", datatype, shape, memoryview(data) if type(data) is bytes else data, {})


@pytest.mark.parametrize("datatype", DTYPES)
def test_numbers_come_back_from_their_bytes_and_from_json(datatype: str) -> None:
    first = made(datatype, [2, 2], [[True, False]] * 2 if datatype == "BOOL" else [0, 1, 2, 3])
    assert isinstance(first.values, np.ndarray)
    assert (first.values.shape, first.values.dtype) == ((2, 2), DTYPES[datatype])
    for again in (
        made(datatype, [2, 2], to_bytes(first)),
        made(datatype, [2, 2], json_of(first)["data"]),
    ):
        assert np.array_equal(again.values, first.values)


def test_numbers_are_little_endian_and_elements_have_their_length() -> None:
    assert to_bytes(made("INT32", [1], [258])) == b"\x02\x01\0\0"
    assert to_bytes(made("BYTES", [2], ["ab", ""])) == b"\2\0\0\0ab\0\0\0\0"
    assert made("BYTES", [2], b"\2\0\0\0ab\0\0\0\0").values == [b"ab", b""]


def test_bytes_that_are_no_text_are_base64_in_json() -> None:
    assert json_of(made("BYTES", [1], ["é"])) == {"data": ["é"]}
    said = json_of(made("BYTES", [1], b"\1\0\0\0\xff"))
    assert said == {"parameters": {"content_type": "base64"}, "data": ["/w=="]}


def test_any_byte_but_zero_is_true() -> None:
    assert to_bytes(made("BOOL", [3], b"\0\1\xff")) == b"\0\1\1"


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", [], [1]),
        ("FP32", None, [1]),
        ("FP32", "1", [1]),
        ("FP32", [1] * 17, [1]),
        ("FP32", [True], [1]),
        ("FP32", [1.0], [1]),
        ("FP32", [-1], [1]),
        ("FP32", [-1, -1], [1]),
        ("FP32", [0], []),
        ("FP32", [1 << 31], [1]),
        ("FP32", [1 << 30] * 16, [1]),
        ("FP32", [1 << 30] * 16, b"\0\0\0\0"),
        ("FP32", [2], [1]),
        ("FP32", [2, 2], [[1, 2], [3]]),
        ("FP32", [3, 2], [[1, 2, 3], [4, 5, 6]]),
        ("FP32", [1], [[[1]]]),
        ("FP32", [1], None),
        ("FP32", [1], {"0": 1}),
        ("FP32", [1], ["1"]),
        ("FP32", [2], [1, "x" * 1000]),
        ("FP32", [1], [None]),
        ("FP32", [1], [True]),
        ("FP32", [1], [1e39]),
        ("FP64", [1], [10**400]),
        ("FP32", [1], b"\0\0\0"),
        ("FP32", [1], b"\0\0\0\0\0\0\0\0"),
        ("INT8", [1], [128]),
        ("UINT64", [1], [-1]),
        ("UINT64", [1], [1 << 64]),
        ("INT64", [1], [1.0]),
        ("BOOL", [1], [1]),
        ("BYTES", [1], [1]),
        ("BYTES", [1], b""),
        ("BYTES", [1], b"\1\0\0"),
        ("BYTES", [1], b"\2\0\0\0a"),
        ("BYTES", [1], b"\xff\xff\xff\xff"),
        ("BYTES", [1], b"\0\0\0\0\0"),
        ("BYTES", [1 << 30], b"\0\0\0\0"),
        ("FP8", [1], [1]),
        (["FP32"], [1], [1]),
        (None, [1], [1]),
    ],
)
def test_what_is_no_tensor_is_refused(datatype: Any, shape: Any, data: Any) -> None:
    with pytest.raises(GatewayError, check=coded("malformed-request")):
        made(datatype, shape, data)


@pytest.mark.parametrize("extension", ["shared_memory_region", "classification"])
def test_extensions_that_are_not_offered_are_refused(extension: str) -> None:
    with pytest.raises(GatewayError, check=coded("malformed-request")):
        tensor_of("t", "FP32", [1], [1], {extension: "1"})
