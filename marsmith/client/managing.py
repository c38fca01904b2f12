"""Models, versions and workers, whoever carries what is said of them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from marsmith.client.description import Model, expecting_torchserve, model_of
from marsmith.core.errors import ClientError, RefusedError

_PAUSE = 0.1  # seconds between two looks at workers that start


class Managing(ABC):
    """TorchServe's management API."""

    @abstractmethod
    def set_default(self, model: str, version: str) -> None:
        """Let a version answer all requests that name none."""

    @abstractmethod
    def unregister(self, model: str, version: str | None = None) -> None:
        """Forget a version and end its workers; without `version` the default one."""

    @property
    @abstractmethod
    def _management(self) -> str:
        """The management API's address, for messages."""

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
        timeouts are in seconds; what is None, the archive's model-config and config.properties
        decide, and the former outweighs what is said here. `synchronous`: return when the workers
        are up, and fail if they do not come up. Raises RefusedError, of status 409 if that version
        is registered already. It is never sent twice: if the connection is lost, `describe` says
        what came of it.
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
        """Set the number of workers of a version, by default the default one; wait until they run.

        Raises ClientError if they are not up within `timeout` seconds.
        """
        if not 0 <= min_workers <= max_workers:
            raise ClientError(
                f"{min_workers} to {max_workers} workers cannot be", "the first is the smaller one"
            )
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
                    f"{model} has {ready} of {min_workers} workers, "
                    f"{timeout:.0f} s after it was told to",
                    f"its workers say why: marsmith logs {model}",
                )
            time.sleep(_PAUSE)

    def _described(self, model: str) -> list[Model]:
        """Describe a model that was listed; nothing, if it was unregistered since."""
        try:
            return self.describe(model)
        except RefusedError as error:
            if error.status == 404:
                return []
            raise
