"""TorchServe's two gRPC services (InferenceImpl, ManagementImpl, GRPCUtils.java).

"" and 0 stand for what is not said. Imports grpc, which is an extra.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request
from marsmith.client.grpc_wire import SERVICES
from marsmith.client.protos import inference_pb2, management_pb2
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.grpc_calls import add_service, code_of
from marsmith.gateway.torchserve_api.errors import Refused, refused
from marsmith.gateway.torchserve_api.managing import Managing
from marsmith.gateway.torchserve_api.messages import Parameters, json_text

INTERNAL = grpc.StatusCode.INTERNAL
OTHER = grpc.StatusCode.FAILED_PRECONDITION  # (GRPCUtils.java)
# What is refused before a worker is asked is INTERNAL; these are the names that go with it.
_UNASKED = {400: "BadRequestException.()", 404: None, 503: "InternalServerException.()"}
_SEQUENCE = "ts_request_sequence_id"  # ConfigManager.getTsHeaderKeySequenceId
_TRACED = {"traceparent": "Traceparent", "tracestate": "Tracestate"}


def add_services(server: grpc.aio.Server, backend: Backend) -> None:
    """Add both services to a server, as at the gateway's own port."""
    add_inference(server, backend)
    add_management(server, backend)


def add_inference(server: grpc.aio.Server, backend: Backend) -> None:
    """Add the service of TorchServe's port 7070."""
    service = _Inference(backend)
    methods = {
        "Ping": service.ping,
        "Predictions": service.predictions,
        "StreamPredictions": service.stream_predictions,
        "StreamPredictions2": service.stream_predictions2,
    }
    add_service(server, SERVICES["inference"], methods)


def add_management(server: grpc.aio.Server, backend: Backend) -> None:
    """Add the service of TorchServe's port 7071."""
    described, managing = SERVICES["management"], Managing(backend)
    methods = {one.name: partial(_managed, managing, one.name) for one in described.methods}
    add_service(server, described, methods)


class _Inference:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ping(self, _: Any, __: Any) -> Any:
        """Say whether all models have the workers that they need."""
        healthy = await self._backend.health() == "Healthy"
        health = json_text({"status": "Healthy" if healthy else "Unhealthy"})
        return inference_pb2.TorchServeHealthResponse(health=health)

    async def predictions(self, asked: Any, context: Any) -> Any:
        """Answer one request; the parts of an answer are joined."""
        try:
            body = b"".join([part async for part in self._parts(asked, context)])
        except Refused as error:
            await _abort_unasked(context, error)
        return inference_pb2.PredictionResponse(prediction=body)

    async def stream_predictions(self, asked: Any, context: Any) -> AsyncIterator[Any]:
        """Answer one request in the parts that its handler sends."""
        try:
            async for part in self._parts(asked, context):
                yield inference_pb2.PredictionResponse(prediction=part)
        except Refused as error:
            await _abort_unasked(context, error)

    async def stream_predictions2(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """Answer the requests of a sequence, in order; a refusal is an answer among them."""
        sequence = f"ts-seq-{uuid.uuid4()}"
        async for asked in requests:
            sequence = asked.sequenceId or sequence
            try:
                async for part in self._parts(asked, context, {_SEQUENCE: sequence}):
                    yield inference_pb2.PredictionResponse(prediction=part, sequenceId=sequence)
            except Refused as error:
                code = INTERNAL if error.status in _UNASKED else code_of(error.status, OTHER)
                status = inference_pb2.Status(code=code.value[0], message=error.message)
                yield inference_pb2.PredictionResponse(status=status, sequenceId=sequence)

    async def _parts(
        self, asked: Any, context: Any, headers: dict[str, str] | None = None
    ) -> AsyncIterator[bytes]:
        """Ask the back end, and yield the parts of its answer. Raises Refused."""
        if not asked.model_name:
            raise Refused(400, "Parameter model_name is required.")
        version = asked.model_version or None
        try:
            request = _request(asked.input, {**_traced(context), **(headers or {})})
            call = Call(asked.model_name, request, str(uuid.uuid4()), version)
            answer = await self._backend.predict(call)
            async for part in answer.parts():
                yield part
        except MarsmithError as error:
            raise refused(error, asked.model_name, version) from error


async def _managed(managing: Managing, method: str, asked: Any, context: Any) -> Any:
    if method in ("RegisterModel", "UnregisterModel") and not managing.may_register:
        await _abort(context, Refused(403, "Model API disabled", "ModelException"))
    of_handler = method == "DescribeModel" and asked.customized and asked.model_version != "all"
    try:
        doing = _customized(managing, asked) if of_handler else _done(managing, method, asked)
        return management_pb2.ManagementResponse(msg=await doing)
    except Refused as error:
        await _abort(context, error, INTERNAL if of_handler else None)


async def _done(managing: Managing, method: str, asked: Any) -> str:
    """Do what a method says; return its words."""
    if method == "ListModels":
        return json_text(await managing.models(asked.limit, asked.next_page_token))
    if method == "RegisterModel":
        return (await managing.register(_parameters(asked)))[1]
    name, version = asked.model_name, asked.model_version or None
    if method == "DescribeModel":
        return json_text(await managing.describe(name, version))
    if method == "ScaleWorker":
        return (await managing.scale(name, version, _parameters(asked)))[1]
    if method == "SetDefault":
        return (await managing.set_default(name, asked.model_version))[1]
    return (await managing.unregister(name, version))[1]


async def _customized(managing: Managing, asked: Any) -> str:
    """Return what a handler says of itself, too."""
    request = Request(b"", "", {"describe": "True"})
    call = Call(asked.model_name, request, str(uuid.uuid4()), asked.model_version or None)
    return json_text((await managing.customized(call))[0])


async def _abort(context: Any, error: Refused, code: grpc.StatusCode | None = None) -> None:
    package = "archive.model" if error.kind.startswith("Model") else "http"
    details = f"{error.message}\norg.pytorch.serve.{package}.{error.kind}"
    await context.abort(code or code_of(error.status, OTHER), details)


async def _abort_unasked(context: Any, error: Refused) -> None:
    if error.status not in _UNASKED:
        await _abort(context, error)
    if name := _UNASKED[error.status]:
        await context.abort(INTERNAL, f"{error.message}\n{name}")
    await _abort(context, error, INTERNAL)


def _parameters(asked: Any) -> Parameters:
    """Return what a message says."""
    said = {field.name: value for field, value in asked.ListFields()}
    return Parameters({**said, "synchronous": asked.synchronous})


def _request(inputs: Any, headers: dict[str, str]) -> Request:
    """Return named inputs as a form's fields, which a handler finds under their names."""
    if list(inputs) in ([], ["body"]):
        return Request(inputs["body"] if inputs else b"", "", headers)
    fields = form([Field(name, value) for name, value in inputs.items()])
    return Request(fields.body, fields.content_type, headers)


def _traced(context: Any) -> dict[str, str]:
    """Return the trace that a caller sent along."""
    sent = context.invocation_metadata() or ()
    return {_TRACED[name]: value for name, value in sent if name in _TRACED}
