"""Versions come and go at a gateway's own workers as at TorchServe's, and nobody notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from marsmith.client import Client
from marsmith.client.retries import ONCE
from marsmith.deploy.scaling import scale
from marsmith.project.project import Project
from marsmith.server.state import running_servers
from marsmith.torchserve.ports import free_ports
from tests.integration.asking import Asking
from tests.integration.kit import Kit, leftovers, wait_for
from tests.integration.test_deploy import BROKEN, Server, make

SAYS = "print('ready to echo')"


class Gateway(Server):
    """A gateway with workers of its own for `echo`."""

    def asking(self, attempts: int = 1) -> Asking:  # noqa: ARG002
        """Ask as anybody may: without a key, and each request once."""
        url = f"http://127.0.0.1:{self.port}"
        return Asking(Client(url, url, retries=ONCE, worker_patience=None), "echo")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    root = tmp_path_factory.mktemp("gateway")
    server = Gateway(Kit(root), free_ports(2))
    make(server.kit, "1.0", initialize=SAYS).rename(root / "model_store/echo.mar")
    server.kit("gateway", "echo", "--port", server.port, "--background")
    yield server
    server.kit("stop", "--port", server.port)
    assert leftovers(f"{root}/") == []


def test_deploy_rollback_and_undeploy_lose_no_request(server: Gateway) -> None:
    kit, port = server.kit, ("--port", server.port)
    second, third = make(kit, "2.0"), make(kit, "3.0", initialize=SAYS)
    with server.asking() as asking:
        wait_for(lambda: asking.versions["1.0"] > 50, "the first version to answer")
        kit("deploy", second, *port)
        assert server.outline() == [("1.0", False, 0), ("2.0", True, 1)]
        seen = asking.versions["1.0"]
        wait_for(lambda: asking.versions["2.0"] > 50, "the second version to answer")
        assert asking.versions["1.0"] == seen

        kit("rollback", "echo", *port)
        assert server.outline() == [("1.0", True, 1), ("2.0", False, 0)]
        wait_for(lambda: asking.versions["1.0"] > seen + 50, "the first version to answer again")

        kit("deploy", third, *port, "--workers", "2:2")
        assert server.outline() == [("1.0", False, 0), ("3.0", True, 2)]  # --keep 1
        refused = kit("undeploy", "echo", "3.0", *port, check=False)
        assert "error[default-version]" in refused.stderr
        kit("undeploy", "echo", "1.0", *port)
        assert server.outline() == [("3.0", True, 2)]
        wait_for(lambda: asking.versions["3.0"] > 50, "the third version to answer")
    assert (asking.wrong, asking.lost) == ([], [])
    refused = kit("rollback", "echo", *port, check=False)
    assert "error[no-earlier-version]" in refused.stderr
    assert {one["file"] for one in server.versions()} == server.files()


@pytest.mark.parametrize("case", BROKEN)
def test_what_fails_leaves_it_as_it_was(server: Gateway, case: str) -> None:
    broken, code, _ = BROKEN[case]
    made = make(server.kit, f"9-{case}", **broken)
    before = server.versions(), server.files()
    with server.asking() as asking:
        failed = server.kit("deploy", made, "--no-check", "--port", server.port, check=False)
    assert failed.returncode == 1
    assert f"error[{code}]" in failed.stderr, failed.stderr
    assert (server.versions(), server.files()) == before
    assert asking.answered > 0
    assert (asking.wrong, asking.lost) == ([], [])


def test_scaling_again_and_again_refuses_no_request(server: Gateway) -> None:
    project = Project(server.kit.root)
    with server.asking() as asking:
        for workers in (3, 2, 1, 2, 1):
            scaled = scale(project, server.port, "echo", (workers, workers))
            assert scaled.ready_workers == workers
    assert (asking.wrong, asking.lost) == ([], [])
    assert asking.answered > 50


def test_a_gateway_that_is_started_again_serves_what_was_deployed(server: Gateway) -> None:
    kit, port = server.kit, ("--port", server.port)
    before = server.outline()
    kit("stop", *port)
    make(kit, "1.0").rename(kit.root / "model_store/echo.mar")
    kit("gateway", "echo", *port, "--background")
    assert server.outline() == before
    with server.asking() as asking:
        wait_for(lambda: asking.answered > 10, "it to answer")
    assert (asking.wrong, asking.lost) == ([], [])


def test_commands_that_look_show_a_gateway_as_a_torchserve(server: Gateway) -> None:
    kit, port = server.kit, ("--port", server.port)
    with server.client() as client:
        assert client.predict("echo", b"seen").ok
        (model,) = [one for one in client.models() if one.default]
    (state,) = kit.json("status")
    assert (state["state"], state["models"]) == ("ready", ["echo"])
    (listed,) = [one for one in kit.json("models", *port) if one["default"]]
    assert listed["version"] == model.version
    assert [one["pid"] for one in listed["workers"]] == [one.pid for one in model.workers]
    assert model.version in kit("top", *port).stdout
    assert "ready to echo" in kit("logs", "echo", *port).stdout
    said = kit("predict", "echo", kit.root / "samples/one.txt", *port).stdout
    assert model.version in said


def test_a_web_process_that_dies_while_it_starts_is_started_again(server: Gateway) -> None:
    def front_end() -> int:
        (state,) = (one for one in running_servers(Project(server.kit.root)))
        return state.front_end[0]

    first = front_end()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: front_end() != first, "another web process")
    second = front_end()
    os.kill(second, signal.SIGKILL)  # it has just been started
    wait_for(lambda: front_end() != second, "a third web process")
    with server.asking() as asking:
        wait_for(lambda: sum(asking.versions.values()) > 50, "answers")
    assert asking.wrong == []
