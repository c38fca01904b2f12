"""TorchServe's inference API over gRPC (InferenceImpl.java)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request
from marsmith.client.protos import inference_pb2
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.torchserve_errors import Refused, json_text, refused
from marsmith.gateway.torchserve_grpc_errors import code_of, details_of

# TorchServe refuses with INTERNAL what it has not asked a worker about.
_UNASKED = {400, 404, 503}
_SEQUENCE = "ts_request_sequence_id"  # ConfigManager.getTsHeaderKeySequenceId
_TRACED = ("traceparent", "tracestate")


class InferenceService:
    """Each method takes a message and gRPC's context."""

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
            await context.abort(_code(error), _details(error))
        return inference_pb2.PredictionResponse(prediction=body)

    async def stream_predictions(self, asked: Any, context: Any) -> AsyncIterator[Any]:
        """Answer one request in the parts that its handler sends."""
        try:
            async for part in self._parts(asked, context):
                yield inference_pb2.PredictionResponse(prediction=part)
        except Refused as error:
            await context.abort(_code(error), _details(error))

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
                status = inference_pb2.Status(code=_code(error).value[0], message=error.message)
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


def _request(inputs: Any, headers: dict[str, str]) -> Request:
    """Return named inputs as a form's fields, which a handler finds under their names."""
    if list(inputs) in ([], ["body"]):
        return Request(inputs["body"] if inputs else b"", "", headers)
    fields = form([Field(name, value) for name, value in inputs.items()])
    return Request(fields.body, fields.content_type, headers)


def _traced(context: Any) -> dict[str, str]:
    """Return the trace that a caller sent along."""
    sent = context.invocation_metadata() or ()
    return {name.title(): value for name, value in sent if name in _TRACED}


def _code(error: Refused) -> grpc.StatusCode:
    return grpc.StatusCode.INTERNAL if error.status in _UNASKED else code_of(error)


def _details(error: Refused) -> str:
    if error.status == 503:
        return f"{error.message}\nInternalServerException.()"
    if error.status == 400:
        return f"{error.message}\nBadRequestException.()"
    return details_of(error)
