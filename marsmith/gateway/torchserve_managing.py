"""What TorchServe's management API does, and its words, whether asked over HTTP or gRPC.

See ApiUtils.java. All methods raise Refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from marsmith.core.errors import MarsmithError
from marsmith.core.worker_bounds import MOST_WORKERS
from marsmith.gateway.backend import Answer, Backend, Call, Registration
from marsmith.gateway.torchserve_descriptions import description, listing
from marsmith.gateway.torchserve_errors import Refused, refused, wrong_method

Outcome = tuple[int, str]  # a status of HTTP, and the text that goes with it
_RUNTIMES = {"python", "python3", "LSP"}  # Manifest.RuntimeType


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
            versions = [one for one in await self._backend.models() if one.name == model]
            if not versions:
                raise _unknown(model)
            archive = self._backend.archive
            return [description(one, archive(model, one.version)) for one in versions]

    async def customized(self, call: Call) -> tuple[list[dict[str, Any]], Answer]:
        """Describe a version, and what its handler says of itself."""
        with _refusing(call.model, call.version, "describe"):
            answer = await self._backend.predict(call)
            body = answer.response.body
            return [await self._described(call.model, call.version, body)], answer

    async def register(self, given: Registration, runtime: str | None) -> Outcome:
        """Register an archive of the model store."""
        if not self.may_register:
            raise wrong_method()
        if not given.url:
            raise Refused(400, "Parameter url is required.")
        if runtime is not None and runtime not in _RUNTIMES:
            raise Refused(400, f"Invalid RuntimeType value: {runtime}")
        with _refusing(given.model_name or given.url):
            model = await self._backend.register(given)
        named = f'Model "{model.name}" Version: {model.version} registered with '
        if not model.max_workers:
            more = "Use scale workers API to add workers for the model."
            return 200, f"{named}0 initial workers. {more}"
        if not given.synchronous:
            return 202, "Processing worker updates..."
        return 200, f"{named}{model.min_workers} initial workers"

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Outcome:
        """Set the bounds of a version's workers."""
        if most < least:
            raise Refused(400, "max_worker cannot be less than min_worker.")
        if least < 0 or most > MOST_WORKERS:
            raise Refused(400, f"min_worker and max_worker must be from 0 to {MOST_WORKERS}.")
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


def _unknown(model: str) -> Refused:
    return Refused(404, f"Model not found: {model}", "ModelNotFoundException")


@contextmanager
def _refusing(
    model: str = "", version: str | None = None, task: str = "inference"
) -> Iterator[None]:
    try:
        yield
    except MarsmithError as error:
        raise refused(error, model, version, task) from error
