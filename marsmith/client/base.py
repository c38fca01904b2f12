"""What the HTTP and the gRPC client have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from marsmith.answers.messages import Response
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
        body: bytes,
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send one raw body to a model and return its answer."""

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
        """Send the content of a file, as `predict` does."""
        try:
            body = Path(path).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: not a path
            why = getattr(error, "strerror", None) or error
            raise ClientError(
                f"{str(path)!r} cannot be read: {why}",
                "name a file that can be read",
                code="unreadable-file",
            ) from error
        return self.predict(model, body, accept, version=version, deadline=deadline)

    def predict_batch(
        self,
        model: str,
        bodies: Iterable[bytes],
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
        connections: int = 8,
    ) -> list[Response | ClientError]:
        """Send each body as a request of its own, over so many connections at once.

        Returns the answers in the order of `bodies`; in place of a missing answer, the ClientError
        that `predict` would have raised. `bodies` are taken from their iterable only as they are
        sent. `deadline` holds for each request.
        """
        return in_parallel(
            lambda body: self.predict(model, body, accept, version=version, deadline=deadline),
            bodies,
            connections,
        )
