"""A canary gets its share of all callers' requests, and goes if it is worse."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from marsmith.client import ONCE, Client
from marsmith.project.project import Project
from marsmith.server.lookup import find_server
from marsmith.torchserve.ports import free_ports
from tests.integration.asking import Asking
from tests.integration.kit import Kit, leftovers, wait_for
from tests.integration.test_deploy import Server, make, serve


@dataclass(frozen=True)
class Front:
    """A gateway, and the server that is deployed to: a TorchServe behind it, or itself."""

    server: Server
    port: int

    @property
    def kit(self) -> Kit:
        return self.server.kit

    def asking(self) -> Asking:
        """Ask as anybody may: through the gateway, each request once."""
        url = f"http://127.0.0.1:{self.port}"
        return Asking(Client(url, url, retries=ONCE, worker_patience=None), "echo")

    def deploy(self, made: Path, seconds: int, *more: str | int) -> subprocess.Popen[str]:
        """Begin to deploy with a canary."""
        canary = ("--no-check", "--canary", "30%", "--canary-for", seconds, *more)
        return self.kit.start("deploy", str(made), *canary, "--port", self.server.port)

    @property
    def routes(self) -> Path:
        state = find_server(Project(self.kit.root), self.server.port)
        return Path(state.folder) / "routes.json"


@pytest.fixture(scope="module", params=["torchserve", "local"])
def front(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Front]:
    root = tmp_path_factory.mktemp("canary")
    if request.param == "torchserve":
        server = serve(root, "--secure")
        port = free_ports(2)
        server.kit("gateway", "--port", port, "--background")
    else:
        port = free_ports(2)
        server = Server(Kit(root), port)
        server.kit.write("config.properties", "enable_model_api=true\n")
        make(server.kit, "1.0").rename(root / "model_store/echo.mar")
        server.kit("gateway", "echo", "--port", port, "--background")
    yield Front(server, port)
    for one in {port, server.port}:
        server.kit("stop", "--port", one, check=False)
    assert leftovers(f"{root}/") == []


def test_a_worse_version_goes_and_a_better_one_stays(front: Front) -> None:
    server, before = front.server, front.server.outline()
    # Right on samples, which is all that it was asked so far, and not on what others ask.
    worse = make(
        server.kit, "5-worse", handle="assert all(row['body'] == b'hello' for row in data)"
    )
    slower = make(
        server.kit, "5-slower", handle="time.sleep(0.1 * any(r['body'] != b'hello' for r in data))"
    )
    better = make(server.kit, "5.0")
    with front.asking() as asking:
        for made, seconds in ((worse, 60), (slower, 5)):
            process = front.deploy(made, seconds)
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 1, (made, errors)
            assert "error[canary-worse]" in errors
            assert server.outline() == before
            assert not front.routes.exists()
        assert asking.versions["5-slower"] > 0
        process = front.deploy(better, 5)
        wait_for(lambda: asking.versions["5.0"] > 0, "the canary to begin")
        asking.versions.clear()
        wait_for(lambda: asking.answered > 400, "answers")
        assert 0.15 < asking.versions["5.0"] / asking.answered < 0.45
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert re.search(r"\b[1-9]\d* requests", errors)  # that the canary answered
        assert re.search(r"\bof [1-9]\d* answers", errors)  # how many agree
    assert (asking.wrong, asking.lost) == ([], [])
    assert [one[0] for one in server.outline() if one[1]] == ["5.0"]
    # They all hold their version, so that no answer agrees.
    with front.asking():
        process = front.deploy(make(server.kit, "5-other"), 4, "--canary-agreement", "50%")
        _, errors = process.communicate(timeout=120)
    assert "error[canary-worse]" in errors
    assert re.search(r"\b0 of [1-9]\d* answers", errors)
    assert [one[0] for one in server.outline() if one[1]] == ["5.0"]


def test_with_too_few_requests_nothing_is_promoted(front: Front) -> None:
    before = front.server.outline()
    process = front.deploy(made := make(front.kit, "6.0"), 1)
    _, errors = process.communicate(timeout=120)
    assert "error[canary-short]" in errors
    assert re.search(r"\b0\b.* of 20\b", errors)  # how many are missing
    assert front.server.outline() == before
    process = front.deploy(made, 1, "--canary-wait", 60)
    wait_for(front.routes.exists, "the canary to begin")
    with front.asking():
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert [one[0] for one in front.server.outline() if one[1]] == ["6.0"]
