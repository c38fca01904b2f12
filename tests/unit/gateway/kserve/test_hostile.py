"""Whatever is sent is answered, refused, or the handler's business; never an error of the kit."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsmith.gateway.kserve.tensors import DTYPES
from tests.unit.gateway.kserve.asking import Answering, ask

pytestmark = pytest.mark.processes  # they take long

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from([10**400, 1 << 63, "BYTES", "YQ==", "base64"])
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NUMBERS = st.lists(st.integers(-2, 300) | st.floats(-2, 2) | st.booleans(), max_size=4)
DATATYPES = st.sampled_from(["BYTES", *DTYPES])
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abc") | ANYTHING,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | ANYTHING,
        "datatype": DATATYPES | ANYTHING,
    },
    optional={
        "data": NUMBERS | st.lists(NUMBERS, max_size=3) | st.lists(st.text()) | ANYTHING,
        "parameters": st.fixed_dictionaries(
            {},
            optional={
                "binary_data_size": st.integers(-2, 40) | ANYTHING,
                "binary_data": ANYTHING,
                "content_type": st.sampled_from(["base64", "a/b", "é/\r\n"]) | ANYTHING,
            },
        )
        | ANYTHING,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | ANYTHING},
    optional={
        "id": ANYTHING,
        "parameters": st.dictionaries(st.just("binary_data_output"), ANYTHING) | ANYTHING,
        "outputs": st.lists(TENSORS, max_size=2) | ANYTHING,
    },
)
STATUSES = {200, 400}


@given(MESSAGES, st.binary(max_size=40), st.none() | st.integers(-3, 3))
def test_messages_of_v2(message: Any, tail: bytes, off: int | None) -> None:
    head = json.dumps(message).encode()
    headers = {} if off is None else {"Inference-Header-Content-Length": str(len(head) + off)}
    got = ask(Answering(), "/v2/models/m/infer", head + (b"" if off is None else tail), headers)
    assert got.status in STATUSES
    assert got.status == 200 or isinstance(got.json["error"], str)


@given(DATATYPES, st.lists(st.integers(1, 3), min_size=1, max_size=3), st.data())
def test_well_formed_tensors_are_answered_and_others_refused(
    datatype: str, shape: list[int], data: st.DataObject
) -> None:
    size = DTYPES[datatype].itemsize if datatype in DTYPES else 4
    for one in shape:
        size *= one
    body = data.draw(st.binary(min_size=size, max_size=size))
    if datatype == "BYTES":
        body = struct.pack("<I", 0) * (size // 4)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": shape,
                    "datatype": datatype,
                    "parameters": {"binary_data_size": len(body)},
                }
            ]
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    got = ask(Answering(), "/v2/models/m/infer", head + body, headers)
    assert got.status == 200 or (got.status == 400 and datatype.startswith("FP"))  # NaN, infinite


@given(st.binary(max_size=60), st.sampled_from(["/v1/models/m:predict", "/v2/models/m/infer"]))
def test_any_bytes(body: bytes, path: str) -> None:
    assert ask(Answering(), path, body, method="POST").status == 400


@given(st.dictionaries(st.sampled_from(["instances", "inputs", "x"]), ANYTHING))
def test_messages_of_v1(message: Any) -> None:
    got = ask(Answering(), "/v1/models/m:predict", message)
    assert got.status in STATUSES
    assert "predictions" in got.json if got.status == 200 else got.json["error"]
