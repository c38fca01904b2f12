from __future__ import annotations

import pytest

from marsmith.gateway.torchserve_api.openapi import routes
from marsmith.gateway.torchserve_api.ports import listeners
from tests.unit.gateway.backends import Models, ask

# Each listener, and whether it has something at a path.
THERE = {
    "inference": {"/predictions/echo": 200, "/ping": 200, "/models": 404, "/models/echo": 404},
    "management": {"/predictions/echo": 404, "/ping": 404, "/models": 200, "/models/echo": 200},
    "metrics": {"/predictions/echo": 404, "/ping": 404, "/models": 404, "/models/echo": 404},
}


@pytest.mark.parametrize("name", THERE)
def test_a_port_has_only_its_own_routes(name: str) -> None:
    at = listeners(Models())[name]
    assert {path: ask(at, "GET", path).status for path in THERE[name]} == THERE[name]
    answer = ask(at, "POST", "/nothing/here")
    assert (answer.status, answer.json["type"]) == (404, "ResourceNotFoundException")


@pytest.mark.parametrize(("name", "paths"), [("inference", 8), ("management", 7)])
def test_a_port_describes_its_own_api(name: str, paths: int) -> None:
    at = listeners(Models())[name]
    said = ask(at, "OPTIONS", "/")
    assert (said.status, len(said.json["paths"])) == (200, paths)
    assert ask(at, "GET", "/api-description").body == said.body
    assert ask(at, "GET", "/").status == 405


def test_one_port_describes_both() -> None:
    paths = ask(routes("inference", "management"), "OPTIONS", "/").json["paths"]
    assert {"/predictions/{model_name}", "/models/{model_name}"} <= set(paths)
