"""TorchServe's own ports, each with only its own routes: what `--torchserve-ports` adds."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.gateway import torchserve_api, torchserve_inference, torchserve_management
from marsmith.gateway.backend import Backend
from marsmith.gateway.torchserve_errors import nothing_here
from marsmith.gateway.torchserve_paths import TorchServeEndpoint


def listeners(
    backend: Backend, kserve: Sequence[BaseRoute] = (), metrics: Sequence[BaseRoute] = ()
) -> dict[str, list[BaseRoute]]:
    """Return the routes of each listener by its name in Settings.listeners.

    `kserve` are what TorchServe has of KServe's protocols, at its inference port.
    """
    inference = [*torchserve_api.routes("inference"), *torchserve_inference.routes(backend)]
    management = [*torchserve_api.routes("management"), *torchserve_management.routes(backend)]
    others = Route("/{rest:path}", TorchServeEndpoint(_nothing_here))
    return {
        "inference": [*inference, *kserve, others],
        "management": [*management, others],
        "metrics": [*metrics, others],
    }


async def _nothing_here(_: Request) -> Response:
    raise nothing_here()
