"""The Open Inference Protocol over gRPC, over a back end that answers in this process."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from marsmith.answers.messages import Response
from marsmith.client.protos import open_inference_pb2
from marsmith.gateway.kserve import oip_grpc
from tests.unit.gateway.grpc_calls import calling
from tests.unit.gateway.kserve.asking import Answering, run

SERVICE: Any = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
INPUT = {"name": "x", "datatype": "INT64", "shape": [2]}
CONTENTS = {"int64_contents": [5, 6]}
INFER = {"model_name": "m", "id": "é", "inputs": [{**INPUT, "contents": CONTENTS}]}
Ask = Callable[..., Awaitable[Any]]


def asked(backend: Answering, method: str, metadata: Any = (), **fields: Any) -> dict[str, Any]:
    """Send one message over a real connection; return its answer as JSON values."""

    async def main() -> Any:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        oip_grpc.add_services(server, backend)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return await calling(channel, SERVICE, method, metadata, **fields)
        finally:
            await server.stop(0)

    values: dict[str, Any] = json_format.MessageToDict(
        run(main()), preserving_proto_field_name=True
    )
    return values


def test_server_and_models_are_described() -> None:
    up, down = Answering(), Answering(up=False)
    assert asked(up, "ServerLive") == {"live": True}
    assert asked(up, "ServerReady") == asked(up, "ModelReady", name="m") == {"ready": True}
    assert asked(down, "ServerReady") == asked(down, "ModelReady", name="m", version="1.0") == {}
    assert asked(up, "ServerMetadata")["name"] == "marsmith"
    assert asked(up, "ModelMetadata", name="m") == {
        "name": "m",
        "versions": ["1.0"],
        "platform": "torchserve_mar",
        "inputs": [{"name": "input", "datatype": "BYTES", "shape": ["-1"]}],
        "outputs": [{"name": "output", "datatype": "BYTES", "shape": ["-1"]}],
    }
    assert [one["state"] for one in asked(down, "RepositoryIndex")["models"]] == ["UNAVAILABLE"]
    assert asked(down, "RepositoryIndex", ready=True) == {}


def test_contents_are_answered_with_contents() -> None:
    backend = Answering()
    metadata = (("x-own", "1"), ("authorization", "Bearer secret"))
    got = asked(backend, "ModelInfer", metadata, **INFER)
    output = {"name": "output", "datatype": "INT64", "shape": ["2"]}
    assert got == {
        "model_name": "m",
        "model_version": "1.0",
        "id": "é",
        "outputs": [{**output, "contents": {"int64_contents": ["5", "6"]}}],
    }
    headers = backend.calls[0].request.headers
    assert headers["X-Own"] == "1"
    assert "Authorization" not in headers


def test_raw_contents_are_answered_with_raw_contents() -> None:
    raw = [(5).to_bytes(8, "little") + (6).to_bytes(8, "little")]
    got = asked(Answering(), "ModelInfer", model_name="m", inputs=[INPUT], raw_input_contents=raw)
    assert "contents" not in got["outputs"][0]
    assert got["raw_output_contents"] == ["BQAAAAAAAAAGAAAAAAAAAA=="]


@pytest.mark.parametrize(
    ("datatype", "field", "value", "answer"),
    [
        ("BOOL", "bool_contents", True, True),
        ("INT8", "int_contents", -5, -5),
        ("UINT16", "uint_contents", 5, 5),
        ("INT64", "int64_contents", -5, -5),
        ("UINT64", "uint64_contents", 5, 5),
        ("FP32", "fp32_contents", 0.5, 0.5),
        ("FP64", "fp64_contents", 0.5, 0.5),
        ("BYTES", "bytes_contents", b"7", 7),
    ],
)
def test_each_datatype_has_its_contents(datatype: str, field: str, value: Any, answer: Any) -> None:
    backend = Answering()
    one = {"name": "x", "datatype": datatype, "shape": [1], "contents": {field: [value]}}
    asked(backend, "ModelInfer", model_name="m", inputs=[one])
    assert json.loads(backend.calls[0].request.body) == answer


def test_wanted_outputs_come_in_their_order() -> None:
    backend = Answering(answer=lambda _: Response(200, "", {}, b'{"a": 1, "b": "x", "c": 0.5}'))
    wanted = [{"name": "c"}, {"name": "b"}]
    got = asked(backend, "ModelInfer", **INFER, outputs=wanted)
    assert [one["name"] for one in got["outputs"]] == ["c", "b"]


@pytest.mark.parametrize(
    ("method", "fields", "code"),
    [
        ("ModelReady", {"name": "other"}, "NOT_FOUND"),
        ("ModelMetadata", {"name": "m", "version": "2"}, "NOT_FOUND"),
        ("ModelInfer", {**INFER, "model_name": "other"}, "NOT_FOUND"),
        ("ModelInfer", {"model_name": "m"}, "INVALID_ARGUMENT"),
        ("ModelInfer", {**INFER, "raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT"),
        ("ModelInfer", {**INFER, "raw_input_contents": [b"\0" * 16]}, "INVALID_ARGUMENT"),
        (
            "ModelInfer",
            {"model_name": "m", "inputs": [INPUT], "raw_input_contents": [b"\0"]},
            "INVALID_ARGUMENT",
        ),
        ("ModelInfer", {**INFER, "outputs": [{"name": "missing"}]}, "INVALID_ARGUMENT"),
        ("ModelInfer", {"model_name": "m", "inputs": [INPUT]}, "INVALID_ARGUMENT"),
        (
            "ModelInfer",
            {"model_name": "m", "inputs": [{**INPUT, "shape": [1 << 62, 1 << 62]}]},
            "INVALID_ARGUMENT",
        ),
        (
            "ModelInfer",
            {"model_name": "m", "inputs": [{**INPUT, "datatype": "FP16", "contents": CONTENTS}]},
            "INVALID_ARGUMENT",
        ),
    ],
)
def test_refusals_have_statuses(method: str, fields: Any, code: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asked(Answering(), method, **fields)
    assert caught.value.code().name == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (413, "RESOURCE_EXHAUSTED"),
        (422, "INVALID_ARGUMENT"),
        (500, "INTERNAL"),
        (503, "INTERNAL"),
    ],
)
def test_statuses_of_handlers_are_statuses_of_grpc(status: int, code: str) -> None:
    backend = Answering(answer=lambda _: Response(status, "", {}, b"odd"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asked(backend, "ModelInfer", **INFER)
    assert caught.value.code().name == code
