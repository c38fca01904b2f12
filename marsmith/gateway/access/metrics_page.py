"""GET /metrics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.client.description import Model
from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.metrics import CONTENT_TYPE, Metrics
from marsmith.gateway.backend import Backend


def routes(backend: Backend, metrics: Metrics) -> list[BaseRoute]:
    """Return the route of the metrics; `backend` tells of all models, whoever asks."""

    async def page(http: Request) -> Response:
        http.scope["state"]["facts"].require_sight_of_all()
        models: Sequence[Model] = ()
        with suppress(MarsmithError):  # what was counted is still true
            models = await backend.models()
        return Response(metrics.text(models), media_type=CONTENT_TYPE)

    return [Route("/metrics", page)]
