"""TorchServe's management API: models, versions and workers, over HTTP or gRPC."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from marsmith.client.description import Model, expecting_torchserve, model_of
from marsmith.core.errors import ClientError, RefusedError
from marsmith.core.worker_bounds import bounds_problem

_PAUSE = 0.1  # seconds between two looks at workers that start
REFUSED_HINT = "see what is served: marsmith models; the server's log may say more: marsmith logs"
TOKEN_HINT = "pass the server's key_file.json (key_file=…), or its key: marsmith token"  # noqa: S105 (a hint)


class Managing(ABC):
    """TorchServe's management API."""

    @abstractmethod
    def set_default(self, model: str, version: str) -> None:
        """Make a version the default one: it answers requests that name no version."""

    @abstractmethod
    def unregister(self, model: str, version: str | None = None) -> None:
        """Unregister a version and end its workers; by default the default version."""

    @property
    @abstractmethod
    def _management(self) -> str:
        """The management API's address, for error messages."""

    @abstractmethod
    def _description(self, model: str, version: str | None) -> Any:
        """Return the management API's list of descriptions, as JSON values."""

    @abstractmethod
    def _listing(self, limit: int, next_page_token: str) -> Any:
        """Return one page of models, as JSON values; the first one's token is empty."""

    @abstractmethod
    def _register(self, given: Mapping[str, Any]) -> None:
        """Register with these parameters."""

    @abstractmethod
    def _set_workers(self, model: str, version: str | None, bounds: tuple[int, int]) -> None:
        """Tell TorchServe the number of workers, synchronously."""

    def models(self) -> list[Model]:
        """Describe all versions of all models, sorted by name."""
        names: list[str] = []
        page: str | None = ""
        while page is not None:
            with expecting_torchserve(self._management):
                listing = self._listing(100, page)
                names += [entry["modelName"] for entry in listing["models"]]
                page = listing.get("nextPageToken") or None
        return [model for name in sorted(set(names)) for model in self._described(name)]

    def describe(self, model: str, version: str | None = None) -> list[Model]:
        """Describe all registered versions of one model, or the one that is named.

        Raises RefusedError for one that TorchServe does not know.
        """
        with expecting_torchserve(self._management):
            versions = self._description(model, version or "all")
            default = self._description(model, None)[0]["modelVersion"]
            return [model_of(values, default) for values in versions]

    def register(
        self,
        url: str,
        *,
        model_name: str | None = None,
        handler: str | None = None,
        runtime: str | None = None,
        batch_size: int | None = None,
        max_batch_delay: int | None = None,
        response_timeout: int | None = None,
        startup_timeout: int | None = None,
        initial_workers: int | None = None,
        synchronous: bool = False,
    ) -> None:
        """Register an archive: `url` is a file of the model store. Its manifest says its version.

        The names are TorchServe's (RegisterModelRequest.java). `max_batch_delay` is in ms, the
        timeouts are in seconds. None leaves a value to the archive's model-config and to
        config.properties; a value in the model-config overrides one given here. `synchronous`:
        return when the workers are up, and fail if they do not start. Raises RefusedError, with
        status 409 if that version is already registered. This is never retried: if the connection
        is lost, `describe` shows whether it was done.
        """
        chosen = {
            "url": url,
            "model_name": model_name,
            "handler": handler,
            "runtime": runtime,
            "batch_size": batch_size,
            "max_batch_delay": max_batch_delay,
            "response_timeout": response_timeout,
            "startup_timeout": startup_timeout,
            "initial_workers": initial_workers,
            "synchronous": synchronous,
        }
        self._register({name: value for name, value in chosen.items() if value is not None})

    def scale(
        self,
        model: str,
        min_workers: int,
        max_workers: int,
        timeout: float = 120,
        *,
        version: str | None = None,
    ) -> Model:
        """Set the number of workers of a version, by default the default one; wait for them.

        Raises ClientError if they are not up within `timeout` seconds.
        """
        if problem := bounds_problem(min_workers, max_workers):
            raise ClientError(problem, "swap them, or correct one", code="bad-worker-count")
        self._set_workers(model, version, (min_workers, max_workers))
        end = time.monotonic() + timeout
        while True:
            described = self.describe(model, version)
            # None: another version was made the default between the two halves of `describe`.
            now = next((one for one in described if version or one.default), None)
            ready = now.ready_workers if now else 0
            if now and ready == len(now.workers) and min_workers <= ready <= max_workers:
                return now
            if time.monotonic() > end:
                raise ClientError(
                    f"{model} has {ready} of {min_workers} workers after {timeout:.0f} s",
                    f"see its log: marsmith logs {model}",
                    code="workers-not-up",
                )
            time.sleep(_PAUSE)

    def _described(self, model: str) -> list[Model]:
        """Describe a listed model; return nothing if it was unregistered since."""
        try:
            return self.describe(model)
        except RefusedError as error:
            if error.status == 404:
                return []
            raise
