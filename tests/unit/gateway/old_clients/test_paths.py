"""No route of [gateway] can take a path that the gateway itself answers."""

from __future__ import annotations

from starlette.routing import Mount, Route

from marsmith.gateway.app import FACES
from marsmith.gateway.page import routes as page
from marsmith.project.gateway_table import RESERVED
from tests.unit.gateway.backends import Models


def test_the_first_parts_of_all_paths_are_reserved() -> None:
    backend = Models()
    routes = [*page.routes(backend, {}), *(one for face in FACES for one in face(backend))]
    paths = [one.path for one in routes if isinstance(one, (Mount, Route))]
    firsts = {path.split("/")[1] for path in paths} - {"", "{model}"}
    assert firsts | {"jobs", "metrics", "uploads"} <= RESERVED
    assert {path.split("/")[-1] for path in paths if path.startswith("/{model}")} <= {"predict"}
