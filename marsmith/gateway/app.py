"""The ASGI application: faces over one back end."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from marsmith.gateway import predicting, torchserve_api, torchserve_inference, torchserve_management
from marsmith.gateway.backend import Backend

Face = Callable[[Backend], list[BaseRoute]]
# In the order in which they are looked through.
FACES: list[Face] = [
    predicting.routes,
    torchserve_inference.routes,
    torchserve_management.routes,
    lambda _: torchserve_api.routes("inference", "management"),
]


def application(backend: Backend) -> Starlette:
    """Return the application of the gateway's own port."""
    return Starlette(routes=[route for face in FACES for route in face(backend)])
