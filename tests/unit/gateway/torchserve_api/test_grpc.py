"""The services over a real grpc.aio server, called by a plain channel and by the kit's client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import grpc
import pytest

from marsmith.client import GrpcClient, Retries
from marsmith.client.grpc_wire import SERVICES
from marsmith.client.protos import inference_pb2
from marsmith.core.errors import RefusedError
from marsmith.gateway.refusals import no_worker_up, too_late
from marsmith.gateway.torchserve_api.grpc_services import add_inference, add_services
from tests.unit.gateway.backends import Models, model
from tests.unit.gateway.grpc_calls import calling

ASKED = {"model_name": "echo", "input": {"body": b"this"}}


@dataclass(frozen=True)
class Served:
    """A server with these services."""

    address: str
    channel: Any

    def call(self, method: str, **fields: Any) -> Any:
        """Return the message, or the messages, that a call is answered with."""
        service = next(one for one in SERVICES.values() if method in one.methods_by_name)
        answer = calling(self.channel, service, method, **fields)
        return list(answer) if service.methods_by_name[method].server_streaming else answer

    def refused(self, method: str, **fields: Any) -> tuple[str, str]:
        """Return the code of a refusal, and the name of TorchServe's exception."""
        with pytest.raises(grpc.RpcError) as raised:
            self.call(method, **fields)
        error: Any = raised.value
        return error.code().name, error.details().rpartition("\n")[2]


@contextmanager
def serving(backend: Models, add: Callable[[Any, Models], None] = add_services) -> Iterator[Served]:
    """Serve the back end from a thread."""
    ready = Event()
    found: list[Any] = []

    async def serve() -> None:
        server, stop = grpc.aio.server(), asyncio.Event()
        add(server, backend)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        loop = asyncio.get_running_loop()
        found.extend((port, lambda: loop.call_soon_threadsafe(stop.set)))
        ready.set()
        await stop.wait()
        await server.stop(0)

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    port, end = found
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(f"127.0.0.1:{port}", channel)
    finally:
        end()
        thread.join()


def test_the_kits_client_works_unchanged() -> None:
    backend = Models([model("echo"), model("echo", "2.0", default=False)])
    with (
        serving(backend) as at,
        GrpcClient(at.address, at.address, retries=Retries(attempts=1)) as client,
    ):
        assert client.predict("echo", b"this").body == b"said this"
        assert client.predict("echo", b"this", version="2.0").body == b"said this"
        assert client.health() == "Healthy"
        assert [one.version for one in client.models()] == ["1.0", "2.0"]
        client.register("other.mar", initial_workers=1)
        client.scale("other", 1, 1)
        client.set_default("echo", "2.0")
        client.unregister("echo", "1.0")
        assert [(one.name, one.version) for one in client.models()] == [
            ("echo", "2.0"),
            ("other", "1.0"),
        ]
        assert client.predict("nope", b"").status == 404
        with pytest.raises(RefusedError) as error:
            client.describe("nope")
        assert error.value.status == 404


def test_inputs_have_their_names() -> None:
    backend = Models()
    with serving(backend) as at:
        at.call("Predictions", model_name="echo", input={"body": b"\r\n--x"})
        at.call("Predictions", model_name="echo", input={"data": b"\r\n--x", "b": b""})
        at.call("Predictions", model_name="echo")
    body, form, empty = (call.request for call in backend.calls)
    assert (body.body, body.content_type) == (b"\r\n--x", "")
    assert form.content_type.startswith("multipart/form-data")
    assert b'name="data"' in form.body
    assert (empty.body, empty.content_type) == (b"", "")


def test_parts_are_streamed_or_joined() -> None:
    with serving(Models(rest=[b"and", b"more"])) as at:
        streamed = at.call("StreamPredictions", **ASKED)
        assert [one.prediction for one in streamed] == [b"said this", b"and", b"more"]
        assert at.call("Predictions", **ASKED).prediction == b"said thisandmore"


def test_a_part_that_fails_fails_the_stream() -> None:
    with serving(Models(rest=[b"and", too_late("echo", 3)])) as at:
        code, name = at.refused("StreamPredictions", **ASKED)
    assert code == "DEADLINE_EXCEEDED"
    assert name == "org.pytorch.serve.http.InternalServerException"


def test_a_sequence_of_requests_is_answered_in_order() -> None:
    asked = [
        inference_pb2.PredictionsRequest(
            model_name=name, input={"body": name.encode()}, sequenceId="s"
        )
        for name in ("echo", "nope", "echo")
    ]
    with serving(backend := Models()) as at:
        name = f"/{SERVICES['inference'].full_name}/StreamPredictions2"
        call = at.channel.stream_stream(
            name,
            inference_pb2.PredictionsRequest.SerializeToString,
            inference_pb2.PredictionResponse.FromString,
        )
        answers = list(call(iter(asked), timeout=10))
    assert [one.prediction for one in answers] == [b"said echo", b"", b"said echo"]
    assert [one.status.code for one in answers] == [0, grpc.StatusCode.INTERNAL.value[0], 0]
    assert {one.sequenceId for one in answers} == {"s"}
    assert backend.calls[0].request.headers["ts_request_sequence_id"] == "s"


MODEL = "org.pytorch.serve.archive.model."
HTTP = "org.pytorch.serve.http."


@pytest.mark.parametrize(
    ("method", "fields", "code", "name"),
    [
        ("Predictions", {}, "INTERNAL", "BadRequestException.()"),
        ("StreamPredictions", {}, "INTERNAL", "BadRequestException.()"),
        ("Predictions", {"model_name": "x"}, "INTERNAL", MODEL + "ModelNotFoundException"),
        (
            "Predictions",
            {"model_name": "echo", "model_version": "9"},
            "INTERNAL",
            MODEL + "ModelVersionNotFoundException",
        ),
        ("DescribeModel", {"model_name": "x"}, "NOT_FOUND", MODEL + "ModelNotFoundException"),
        (
            "DescribeModel",
            {"model_name": "x", "customized": True},
            "INTERNAL",
            MODEL + "ModelNotFoundException",
        ),
        ("RegisterModel", {}, "INVALID_ARGUMENT", HTTP + "BadRequestException"),
        ("RegisterModel", {"url": "x"}, "NOT_FOUND", MODEL + "ModelNotFoundException"),
        ("RegisterModel", {"url": "echo.mar"}, "ABORTED", HTTP + "ConflictStatusException"),
        (
            "ScaleWorker",
            {"model_name": "echo", "min_worker": 2, "max_worker": 1},
            "INVALID_ARGUMENT",
            HTTP + "BadRequestException",
        ),
        (
            "SetDefault",
            {"model_name": "echo", "model_version": "9"},
            "NOT_FOUND",
            MODEL + "ModelVersionNotFoundException",
        ),
        ("UnregisterModel", {"model_name": "x"}, "NOT_FOUND", MODEL + "ModelNotFoundException"),
    ],
)
def test_refusals_have_torchserves_codes_and_names(
    method: str, fields: dict[str, Any], code: str, name: str
) -> None:
    with serving(Models()) as at:
        assert at.refused(method, **fields) == (code, name)


def test_without_a_worker_the_words_are_those_that_clients_look_for() -> None:
    with (
        serving(Models(fails=no_worker_up("echo", "1.0", "why"))) as at,
        GrpcClient(at.address, at.address, retries=Retries(attempts=1)) as client,
    ):
        assert at.refused("Predictions", **ASKED) == ("INTERNAL", "InternalServerException.()")
        assert client.predict("echo", b"", deadline=5).status == 503


@pytest.mark.parametrize("method", ["RegisterModel", "UnregisterModel"])
def test_registering_is_closed_unless_the_configuration_opens_it(method: str) -> None:
    with serving(Models(model_api=False)) as at:
        assert at.refused(method) == ("PERMISSION_DENIED", MODEL + "ModelException")


def test_a_handler_describes_itself_and_zeros_are_defaults() -> None:
    with serving(backend := Models()) as at:
        said = at.call("DescribeModel", model_name="echo", customized=True).msg
        assert json.loads(said)[0]["customizedMetadata"] == {}
        assert at.call("ScaleWorker", model_name="echo").msg == "Processing worker updates..."
        assert json.loads(at.call("ListModels", limit=1).msg)["nextPageToken"] == "1"
    assert backend.scaled == [(1, 1, False)]


def test_the_inference_port_has_no_management() -> None:
    with serving(Models(), add_inference) as at:
        assert at.call("Ping").health == '{\n  "status": "Healthy"\n}'
        assert at.refused("ListModels")[0] == "UNIMPLEMENTED"
