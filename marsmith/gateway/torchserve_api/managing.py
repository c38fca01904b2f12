"""What TorchServe's management API does, and its words, over HTTP and gRPC (ApiUtils.java).

All methods raise Refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from marsmith.core.errors import MarsmithError
from marsmith.core.worker_bounds import MOST_WORKERS
from marsmith.gateway.backend import Answer, Backend, Call, Registration
from marsmith.gateway.torchserve_api.descriptions import description, listing
from marsmith.gateway.torchserve_api.errors import Refused, refused, wrong_method
from marsmith.gateway.torchserve_api.messages import Parameters

Outcome = tuple[int, str]  # a status of HTTP, and the text that goes with it
_RUNTIMES = {None, "python", "python3", "LSP"}  # Manifest.RuntimeType
_NUMBERS = ("batch_size", "max_batch_delay", "response_timeout", "startup_timeout")


class Managing:
    """TorchServe's management API over a back end."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def may_register(self) -> bool:
        """Whether models may be registered and unregistered."""
        return self._backend.model_api

    async def models(self, limit: int, token: int) -> dict[str, Any]:
        """List a page of models."""
        with _refusing():
            return listing(await self._backend.models(), limit, token)

    async def describe(self, model: str, version: str | None) -> list[dict[str, Any]]:
        """Describe a version, or `all` of them."""
        with _refusing(model, version):
            if version != "all":
                return [await self._described(model, version)]
            await self._backend.describe(model)
            versions = [one for one in await self._backend.models() if one.name == model]
            return [description(one, self._backend.archive(model, one.version)) for one in versions]

    async def customized(self, call: Call) -> tuple[list[dict[str, Any]], Answer]:
        """Describe a version, and what its handler says of itself."""
        with _refusing(call.model, call.version, "describe"):
            answer = await self._backend.predict(call)
            body = answer.response.body
            return [await self._described(call.model, call.version, body)], answer

    async def register(self, given: Parameters) -> Outcome:
        """Register an archive of the model store."""
        if not self.may_register:
            raise wrong_method()
        url, runtime = given.text("url"), given.text("runtime")
        if not url:
            raise Refused(400, "Parameter url is required.")
        if runtime not in _RUNTIMES:
            raise Refused(400, f"Invalid RuntimeType value: {runtime}")
        # Numbers below 1 stand for the defaults.
        said = ((name, given.number(name) or 0) for name in (*_NUMBERS, "initial_workers"))
        numbers: dict[str, Any] = {name: value for name, value in said if value > 0}
        name, handler = given.text("model_name"), given.text("handler")
        synchronous = given.flag("synchronous", default=True)
        asked = Registration(url, name, handler, **numbers)
        with _refusing(name or url):
            model = await self._backend.register(replace(asked, synchronous=synchronous))
        named = f'Model "{model.name}" Version: {model.version} registered with '
        if not model.max_workers:
            more = "Use scale workers API to add workers for the model."
            return 200, f"{named}0 initial workers. {more}"
        if not synchronous:
            return 202, "Processing worker updates..."
        return 200, f"{named}{model.min_workers} initial workers"

    async def scale(self, model: str, version: str | None, given: Parameters) -> Outcome:
        """Set the bounds of a version's workers."""
        least, most = given.number("min_worker"), given.number("max_worker")
        least = 1 if least is None else least
        most = least if most is None else most
        if most < least:
            raise Refused(400, "max_worker cannot be less than min_worker.")
        if least < 0 or most > MOST_WORKERS:
            raise Refused(400, f"min_worker and max_worker must be from 0 to {MOST_WORKERS}.")
        version = version or given.text("model_version")
        wait = given.flag("synchronous")
        with _refusing(model, version):
            await self._backend.scale(model, version, least, most, wait=wait)
        if not wait:
            return 202, "Processing worker updates..."
        of_version = f", version: {version}" if version else ""
        return 200, f"Workers scaled to {least} for model: {model}{of_version}"

    async def set_default(self, model: str, version: str) -> Outcome:
        """Let a version answer the requests that name none."""
        try:
            await self._backend.set_default(model, version)
        except MarsmithError as error:
            refusal = refused(error, model, version)
            if error.code == "version-unknown":  # TorchServe has other words for it here
                words = f"Model version {version} does not exist for model {model}"
                refusal = Refused(refusal.status, words, refusal.kind)
            raise refusal from error
        return 200, f'Default version successfully updated for model "{model}" to "{version}"'

    async def unregister(self, model: str, version: str | None) -> Outcome:
        """Unregister a version."""
        if not self.may_register:
            raise wrong_method()
        with _refusing(model, version):
            await self._backend.unregister(model, version)
        return 200, f'Model "{model}" unregistered'

    async def _described(
        self, model: str, version: str | None, metadata: bytes = b""
    ) -> dict[str, Any]:
        described = await self._backend.describe(model, version)
        return description(described, self._backend.archive(model, version), metadata)


@contextmanager
def _refusing(
    model: str = "", version: str | None = None, task: str = "inference"
) -> Iterator[None]:
    try:
        yield
    except MarsmithError as error:
        raise refused(error, model, version, task) from error
