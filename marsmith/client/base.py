"""What the HTTP and the gRPC client have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from marsmith.answers.messages import Request, Response
from marsmith.answers.requests import file_request
from marsmith.client.batches import in_parallel
from marsmith.client.managing import Managing
from marsmith.core.errors import ClientError

_Self = TypeVar("_Self", bound="BaseClient")


class BaseClient(Managing):
    """A connection to one TorchServe. Use it as a context manager, or close it.

    It can be used from several threads at once.
    """

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""

    @abstractmethod
    def predict(
        self,
        model: str,
        request: Request | bytes,
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send a request, or bytes as a raw body, to a model and return its answer."""

    @abstractmethod
    def health(self) -> str:
        """Return TorchServe's own health: `Healthy`, or something else."""

    def predict_file(
        self,
        model: str,
        path: Path | str,
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send the content of a file, as `predict` does; that of a .json file as JSON."""
        request = file_request(Path(path))
        return self.predict(model, request, accept, version=version, deadline=deadline)

    def predict_batch(
        self,
        model: str,
        requests: Iterable[Request | bytes],
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
        connections: int = 8,
    ) -> list[Response | ClientError]:
        """Send each request or raw body by itself, over so many connections at once.

        Returns the answers in the order of `requests`; in place of a missing answer, the
        ClientError that `predict` would have raised. `requests` are taken from their iterable only
        as they are sent. `deadline` holds for each request.
        """
        return in_parallel(
            lambda one: self.predict(model, one, accept, version=version, deadline=deadline),
            requests,
            connections,
        )
