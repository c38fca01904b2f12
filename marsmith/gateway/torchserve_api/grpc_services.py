"""TorchServe's two gRPC services (InferenceImpl, ManagementImpl, GRPCUtils.java).

Each method takes a message and gRPC's context. "" and 0 stand for what is not said.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from operator import itemgetter
from typing import Any

import grpc

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request
from marsmith.client.protos import inference_pb2, management_pb2
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.torchserve_api.errors import Refused, refused
from marsmith.gateway.torchserve_api.managing import Managing
from marsmith.gateway.torchserve_api.messages import Parameters, json_text

INTERNAL = grpc.StatusCode.INTERNAL
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# What is refused before a worker is asked is INTERNAL; these are the names that go with it.
_UNASKED = {400: "BadRequestException.()", 404: None, 503: "InternalServerException.()"}
_SEQUENCE = "ts_request_sequence_id"  # ConfigManager.getTsHeaderKeySequenceId
_TRACED = {"traceparent": "Traceparent", "tracestate": "Tracestate"}


class InferenceService:
    """InferenceAPIsService."""

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
                code = INTERNAL if error.status in _UNASKED else _code(error)
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
            yield answer.response.body
            if answer.rest is not None:
                async for part in answer.rest:
                    yield part
        except MarsmithError as error:
            raise refused(error, asked.model_name, version) from error


class ManagementService:
    """ManagementAPIsService."""

    def __init__(self, backend: Backend) -> None:
        self._managing = Managing(backend)

    async def describe_model(self, asked: Any, context: Any) -> Any:
        """Describe a version, all versions, or what a handler says of itself."""
        name, version = asked.model_name, asked.model_version or None
        if version == "all" or not asked.customized:
            return await _answered(self._managing.describe(name, version), context, json_text)
        call = Call(name, Request(b"", "", {"describe": "True"}), str(uuid.uuid4()), version)
        told = self._managing.customized(call)
        return await _answered(told, context, lambda one: json_text(one[0]), INTERNAL)

    async def list_models(self, asked: Any, context: Any) -> Any:
        """List a page of models."""
        page = self._managing.models(asked.limit, asked.next_page_token)
        return await _answered(page, context, json_text)

    async def register_model(self, asked: Any, context: Any) -> Any:
        """Register an archive of the model store."""
        await self._require_open(context)
        return await _answered(self._managing.register(_parameters(asked)), context)

    async def scale_worker(self, asked: Any, context: Any) -> Any:
        """Set the bounds of a version's workers."""
        version = asked.model_version or None
        scaled = self._managing.scale(asked.model_name, version, _parameters(asked))
        return await _answered(scaled, context)

    async def set_default(self, asked: Any, context: Any) -> Any:
        """Let a version answer the requests that name none."""
        changed = self._managing.set_default(asked.model_name, asked.model_version)
        return await _answered(changed, context)

    async def unregister_model(self, asked: Any, context: Any) -> Any:
        """Unregister a version."""
        await self._require_open(context)
        ended = self._managing.unregister(asked.model_name, asked.model_version or None)
        return await _answered(ended, context)

    async def _require_open(self, context: Any) -> None:
        if not self._managing.may_register:
            await _abort(context, Refused(403, "Model API disabled", "ModelException"))


async def _answered(
    doing: Awaitable[Any],
    context: Any,
    words: Callable[[Any], str] = itemgetter(1),
    code: grpc.StatusCode | None = None,
) -> Any:
    """Return what was done, in `words`; `code` goes before that of a refusal."""
    try:
        done = await doing
    except Refused as error:
        await _abort(context, error, code)
    return management_pb2.ManagementResponse(msg=words(done))


async def _abort(context: Any, error: Refused, code: grpc.StatusCode | None = None) -> None:
    package = "archive.model" if error.kind.startswith("Model") else "http"
    details = f"{error.message}\norg.pytorch.serve.{package}.{error.kind}"
    await context.abort(code or _code(error), details)


async def _abort_unasked(context: Any, error: Refused) -> None:
    if error.status not in _UNASKED:
        await _abort(context, error)
    if name := _UNASKED[error.status]:
        await context.abort(INTERNAL, f"{error.message}\n{name}")
    await _abort(context, error, INTERNAL)


def _code(error: Refused) -> grpc.StatusCode:
    others = grpc.StatusCode.FAILED_PRECONDITION if error.status < 500 else INTERNAL
    return _CODES.get(error.status, others)


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
