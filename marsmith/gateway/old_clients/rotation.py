"""The rotation system's gRPC services (rotation.proto) over a back end.

Imports grpc, which is an extra: the web process imports this only where it is installed.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from google.protobuf import message_factory

from marsmith.answers.messages import Request
from marsmith.client.description import Model
from marsmith.client.protos import rotation_pb2
from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.gate import token_in
from marsmith.gateway.access.keys import Key
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.grpc_calls import abort, add_service
from marsmith.gateway.observe.facts import CURRENT
from marsmith.gateway.old_clients.rotation_answer import result_of
from marsmith.gateway.old_clients.rotation_keys import key_missing
from marsmith.gateway.old_clients.rotation_loading import Loading, file_of
from marsmith.gateway.refusals import GatewayError, malformed, version_unknown
from marsmith.project.spec import is_name

Fields = dict[str, Any]  # of an answer's message
_FIGURES = ("train_acc", "test_acc")


def add_services(server: Any, backend: Backend, model: str) -> None:
    """Add all services for a model to a server of grpc.aio."""
    rotation = Rotation(backend, model)
    for described in rotation_pb2.DESCRIPTOR.services_by_name.values():
        methods = {one.name: _method(rotation, one) for one in described.methods}
        add_service(server, described, methods)


def _method(rotation: Rotation, described: Any) -> Callable[..., Any]:
    message = message_factory.GetMessageClass(described.output_type)

    async def answers(request: Any, context: Any) -> list[Any]:
        try:
            return [message(**one) for one in await rotation.answer(described.name, request)]
        except MarsmithError as error:
            await abort(context, error)
            return []

    async def one(request: Any, context: Any) -> Any:
        return (await answers(request, context))[0]

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        for answer in await answers(request, context):
            yield answer

    return many if described.server_streaming else one


class Rotation:
    """Answers calls whose key has been checked (grpc_access.py). It raises GatewayErrors."""

    def __init__(self, backend: Backend, model: str) -> None:
        self._backend = backend
        self._model = model
        self._loading = Loading(backend, model)
        self._methods = {
            "Inference": self._infer,
            "LoadModel": self._load,
            "GetUsingModelVersion": self._version_in_use,
            "GetAllModelVersion": self._versions,
            "Change": self._change,
            "Login": self._login,
            "Authenticate": self._authenticate,
            "AuthenticateGetUserInfo": self._user,
        }

    async def answer(self, method: str, request: Any) -> Sequence[Fields]:
        """Return the messages that answer a call, as their fields."""
        _caller()
        if method not in self._methods:
            raise GatewayError(
                "this gateway keeps no data sets yet",
                "ask InferenceImage, ModelVersion and User",
                code="not-implemented",
                status=501,
            )
        return await self._methods[method](request)

    async def _infer(self, request: Any) -> Sequence[Fields]:
        if not request.image_content:
            raise malformed("the request holds no image", "send a JPEG or PNG as image_content")
        asked = Request(request.image_content, "", {"Accept": "application/json"})
        said = (await self._backend.predict(Call(self._model, asked, str(uuid.uuid4())))).response
        return [result_of(self._model, said)]

    async def _load(self, request: Any) -> Sequence[Fields]:
        if not is_name(request.path):
            what = f"{request.path!r} is not the name of an archive"
            raise malformed(what, "name it as in archives.toml, without folders")
        await self._loading.load(f"{request.path}.mar")
        return [{}]

    async def _version_in_use(self, _: Any) -> Sequence[Fields]:
        return [self._described(await self._backend.describe(self._model))]

    async def _versions(self, _: Any) -> Sequence[Fields]:
        return [self._described(one) for one in await self._loading.known()]

    async def _change(self, request: Any) -> Sequence[Fields]:
        for one in await self._loading.known():
            if _number(one.version) == request.pk:
                await self._backend.set_default(self._model, one.version)
                return [{}]
        raise version_unknown(self._model, f"pk {request.pk}")

    async def _login(self, request: Any) -> Sequence[Fields]:
        if request.email != _caller().name:
            raise refusal("key-unknown")
        return await self._user(request)

    async def _authenticate(self, _: Any) -> Sequence[Fields]:
        return [{}]

    async def _user(self, _: Any) -> Sequence[Fields]:
        key, facts = _caller(), CURRENT.get()
        token = (token_in(facts.head) if facts else None) or ""
        return [{"pk": _number(key.id), "email": key.name, "access_token": token}]

    def _described(self, one: Model) -> Fields:
        archive = self._backend.archive(one.name, one.version)
        metrics = archive.model_config.get("metrics", {}) if archive else {}
        figures = {name: float(metrics.get(name, 0)) for name in _FIGURES}
        return figures | {
            "pk": _number(one.version),
            "version_name": one.version,
            "model_file_name": file_of(one),
            "is_using": one.default,
        }


def _caller() -> Key:
    """Return the key of the running call, which needs one on this machine too."""
    facts = CURRENT.get()
    if facts is None or facts.key is None:
        unknown = facts is not None and token_in(facts.head) is not None
        raise refusal("key-unknown") if unknown else key_missing()
    facts.face = "rotation"
    return facts.key


def _number(text: str) -> int:
    """Return a positive int32 that stays the same for a version or an id."""
    return zlib.crc32(text.encode()) & 0x7FFFFFFF or 1
