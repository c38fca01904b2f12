"""TorchServe's management API over gRPC (ManagementImpl.java)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from typing import Any

import grpc

from marsmith.answers.messages import Request
from marsmith.client.protos import management_pb2
from marsmith.gateway.backend import Backend, Call, Registration
from marsmith.gateway.torchserve_errors import Refused, json_text
from marsmith.gateway.torchserve_grpc_errors import code_of, details_of
from marsmith.gateway.torchserve_managing import Managing, Outcome

# Where models may not be registered.
_CLOSED = "Model API disabled\norg.pytorch.serve.archive.model.ModelException"


class ManagementService:
    """Each method takes a message and gRPC's context. 0 and "" stand for what is not said."""

    def __init__(self, backend: Backend) -> None:
        self._managing = Managing(backend)

    async def describe_model(self, asked: Any, context: Any) -> Any:
        """Describe a version, all versions, or what a handler says of itself."""
        name, version = asked.model_name, asked.model_version or None
        if version == "all" or not asked.customized:
            return await _told(self._managing.describe(name, version), context)
        call = Call(name, Request(b"", "", {"describe": "True"}), str(uuid.uuid4()), version)
        return await _told(self._customized(call), context, grpc.StatusCode.INTERNAL)

    async def _customized(self, call: Call) -> list[dict[str, Any]]:
        values, _ = await self._managing.customized(call)
        return values

    async def list_models(self, asked: Any, context: Any) -> Any:
        """List a page of models."""
        return await _told(self._managing.models(asked.limit, asked.next_page_token), context)

    async def register_model(self, asked: Any, context: Any) -> Any:
        """Register an archive of the model store."""
        await self._require_open(context)
        given = Registration(
            asked.url,
            model_name=asked.model_name or None,
            handler=asked.handler or None,
            batch_size=_number(asked.batch_size),
            max_batch_delay=_number(asked.max_batch_delay),
            response_timeout=_number(asked.response_timeout),
            startup_timeout=_number(asked.startup_timeout),
            initial_workers=_number(asked.initial_workers),
            synchronous=asked.synchronous,
        )
        return await _done(self._managing.register(given, asked.runtime or None), context)

    async def scale_worker(self, asked: Any, context: Any) -> Any:
        """Set the bounds of a version's workers."""
        least = _number(asked.min_worker) or 1
        most = _number(asked.max_worker) or least
        name, version = asked.model_name, asked.model_version or None
        scaled = self._managing.scale(name, version, least, most, wait=asked.synchronous)
        return await _done(scaled, context)

    async def set_default(self, asked: Any, context: Any) -> Any:
        """Let a version answer the requests that name none."""
        changed = self._managing.set_default(asked.model_name, asked.model_version)
        return await _done(changed, context)

    async def unregister_model(self, asked: Any, context: Any) -> Any:
        """Unregister a version."""
        await self._require_open(context)
        ended = self._managing.unregister(asked.model_name, asked.model_version or None)
        return await _done(ended, context)

    async def _require_open(self, context: Any) -> None:
        if not self._managing.may_register:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, _CLOSED)


async def _done(doing: Awaitable[Outcome], context: Any) -> Any:
    """Return the words of an outcome."""
    try:
        _, words = await doing
    except Refused as error:
        await context.abort(code_of(error), details_of(error))
    return management_pb2.ManagementResponse(msg=words)


async def _told(asking: Awaitable[Any], context: Any, code: grpc.StatusCode | None = None) -> Any:
    """Return values as JSON; `code` goes before that of a refusal."""
    try:
        values = await asking
    except Refused as error:
        await context.abort(code or code_of(error), details_of(error))
    return management_pb2.ManagementResponse(msg=json_text(values))


def _number(value: int) -> int | None:
    return value if value > 0 else None
