"""The ASGI application: faces over one back end."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from marsmith.gateway import kserve_v1, oip, predicting
from marsmith.gateway.backend import Backend
from marsmith.gateway.torchserve_api import inference, management, openapi

Face = Callable[[Backend], list[BaseRoute]]
# In the order in which they are looked through.
FACES: list[Face] = [
    predicting.routes,
    inference.routes,
    management.routes,
    kserve_v1.routes,
    oip.routes,
    lambda _: openapi.routes("inference", "management"),
]


def application(backend: Backend) -> Starlette:
    """Return the application of the gateway's own port."""
    return Starlette(routes=[route for face in FACES for route in face(backend)])
