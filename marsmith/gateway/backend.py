"""What faces ask of a back end, and what it answers; no IO."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from marsmith.answers.messages import Request, Response
from marsmith.archive.reader import Archive
from marsmith.client.description import Model

Health = Literal["Healthy", "Partial Healthy", "Unhealthy"]  # TorchServe's words
EventKind = Literal["registered", "unregistered", "default", "scaled", "worker-died", "worker-up"]


@dataclass(frozen=True)
class Call:
    """One request for a model, as a face has read it.

    `id` is unique among all requests of this gateway. `path` is what followed the model in the URL
    (TorchServe's url_path). Nobody waits for the answer after `deadline`, of time.monotonic().
    `told` are headers that handlers see although they are not true of the request: curl -d says of
    any body that it is a form.
    """

    model: str
    request: Request
    id: str
    version: str | None = None  # None: the default one
    explain: bool = False
    path: str = ""
    deadline: float = math.inf
    told: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Answer:
    """A handler's answer, also one with a status of its own from 400 on.

    `rest` yields the parts that follow `response.body`, of a handler that answers in parts.
    `queued` and `computed` are seconds; `batch` is how many requests shared the batch.
    """

    response: Response
    version: str
    queued: float = 0.0
    computed: float = 0.0
    batch: int = 1
    rest: AsyncIterator[bytes] | None = None

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body, and what follows it."""
        yield self.response.body
        if self.rest is not None:
            async for part in self.rest:
                yield part

    async def whole(self) -> Response:
        """Return the response with all of its parts."""
        if self.rest is None:
            return self.response
        return replace(self.response, body=b"".join([part async for part in self.parts()]))


@dataclass(frozen=True)
class Registration:
    """What TorchServe's `POST /models` takes (RegisterModelRequest.java).

    `url` names a file of the model store. `max_batch_delay` is in ms, timeouts are in seconds. None
    leaves a value to the archive's model-config.
    """

    url: str
    model_name: str | None = None
    handler: str | None = None
    batch_size: int | None = None
    max_batch_delay: int | None = None
    response_timeout: int | None = None
    startup_timeout: int | None = None
    initial_workers: int | None = None
    synchronous: bool = False


@dataclass(frozen=True)
class Event:
    """Something that happened to a version of a model."""

    kind: EventKind
    model: str
    version: str
    detail: str = ""


class Backend(Protocol):
    """Where models run. All methods raise GatewayError for what cannot be done."""

    name: str  # as `--backend` names it
    model_api: bool  # whether models may be registered and unregistered (enable_model_api)

    async def start(self) -> None:
        """Connect to what there is, and start what there is not; returns when models can answer."""

    async def stop(self) -> None:
        """Let open requests end, then let go of everything."""

    async def predict(self, call: Call) -> Answer:
        """Answer a request, once: a request whose worker died is tried again once."""

    async def models(self) -> Sequence[Model]:
        """Describe all versions of all models, sorted by name and version."""

    async def describe(self, model: str, version: str | None = None) -> Model:
        """Describe one version, by default the default one."""

    async def register(self, given: Registration) -> Model:
        """Register an archive; with `synchronous`, return once its workers are up."""

    async def unregister(self, model: str, version: str | None = None) -> None:
        """Let open requests end, and end the workers of a version."""

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        """Set the bounds of a version's workers; with `wait`, return once they are so many."""

    async def set_default(self, model: str, version: str) -> None:
        """Let a version answer the requests that name none."""

    async def health(self) -> Health:
        """Say whether all versions have the workers that they need at least."""

    def events(self) -> AsyncIterator[Event]:
        """Yield what happens from now on."""

    def archive(self, model: str, version: str | None = None) -> Archive | None:
        """Return a version's archive, for its samples and metadata, if it lies on this machine."""
