"""TorchServe's own ports, each with only its own routes: what `--torchserve-ports` adds."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.gateway.backend import Backend
from marsmith.gateway.torchserve_api import inference, management, openapi
from marsmith.gateway.torchserve_api.errors import nothing_here
from marsmith.gateway.torchserve_api.messages import TorchServeEndpoint


def listeners(
    backend: Backend, kserve: Sequence[BaseRoute] = (), metrics: Sequence[BaseRoute] = ()
) -> dict[str, list[BaseRoute]]:
    """Return the routes of each listener by its name in Settings.listeners.

    `kserve` are KServe's protocols, which TorchServe has at its inference port.
    """
    others = Route("/{rest:path}", TorchServeEndpoint(_nothing_here))
    return {
        "inference": [
            *openapi.routes("inference"),
            *inference.routes(backend),
            *kserve,
            others,
        ],
        "management": [*openapi.routes("management"), *management.routes(backend), others],
        "metrics": [*metrics, others],
    }


async def _nothing_here(_: Request) -> Response:
    raise nothing_here()
