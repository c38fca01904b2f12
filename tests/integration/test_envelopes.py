"""service_envelope of config.properties: the runtime and a server answer the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.answers.messages import Request
from marsmith.client.http import Client
from marsmith.torchserve.ports import free_ports
from marsmith.worker.runtime import Runtime
from tests.integration.kit import Kit, Served

HANDLER = "def handle(data, context):\n    return [str(row) for row in data or ()]\n"
INPUT = {"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 2]}
BODIES = {
    "body": ["plain"],
    "json": {"instances": [{"b64": "eA=="}]},
    "kserve": {"instances": ["one"]},
    "kservev2": {"id": "7", "inputs": [INPUT]},
}


@pytest.fixture(params=BODIES)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Served]]:
    """A server with each envelope."""
    kit = Kit(tmp_path)
    (tmp_path / "own.py").write_text(HANDLER)
    serving = "serving = { minWorkers = 1, maxWorkers = 1 }\n"
    text = f'[archives.own]\nversion = "1"\nhandler = "own.py"\n{serving}'
    (tmp_path / "archives.toml").write_text(text)
    config = f"service_envelope={request.param}\ndisable_token_authorization=true\n"
    (tmp_path / "config.properties").write_text(config)
    kit("build")
    port = free_ports(5)
    kit("serve", "--background", "--port", port)
    yield request.param, Served(kit, port)
    kit("stop", "--port", port)


def test_the_runtime_unwraps_as_the_server_does(served: tuple[str, Served]) -> None:
    envelope, server = served
    request = Request(json.dumps(BODIES[envelope]).encode(), "application/json")
    with Client(server.url("")) as client:
        expected = client.predict("own", request)
    with Runtime(server.kit.root / "model_store" / "own.mar") as run:
        found = run.predict(request)
    assert (found.status, found.values) == (expected.status, expected.values)
    assert found.ok
    with Runtime(server.kit.root / "model_store" / "own.mar", envelope="") as run:
        assert run.predict(request).body != found.body
