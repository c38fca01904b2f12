"""The clients of Triton and of KServe, in an environment of their own, ask a real gateway."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.environments import installed
from bench.failures import SystemFailedError
from bench.places import WORK
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import ROOT
from tests.projects import copy_project

CLIENTS = Path(__file__).parent / "kserve_clients"
# What uv says at the end where no index can be reached.
UNREACHABLE = re.compile(r"os error|name resolution|not known|network was disabled|timed out")
OUTPUTS = ["label", "index", "confidence", "probabilities"]


@pytest.fixture(scope="module")
def python() -> Path:
    """Python with both clients, which want an older protobuf than ours."""
    folder = WORK / "venvs" / "kserve-clients"
    try:
        programs = installed(CLIENTS / "requirements.txt", folder, compiled=False)
    except SystemFailedError as error:
        if UNREACHABLE.search(str(error)):
            pytest.skip(f"the clients of KServe and Triton: {error}")
        raise
    return programs / "python"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    kit = copy_project(tmp_path_factory.mktemp("gateway"))
    kit("build", "digits")
    port = free_ports(2)
    kit("gateway", "digits", "--backend", "local", "--port", port, "--background")
    yield port
    kit("stop", "--port", port)


def said(python: Path, client: str, port: int) -> dict[str, Any]:
    script = CLIENTS / f"ask_with_{client}.py"
    addresses = [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]
    command = [str(python), str(script), *addresses, str(ROOT / "samples/seven.png")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def test_tritons_client_over_http_and_grpc(python: Path, port: int) -> None:
    found = said(python, "triton", port)
    answers = {
        "label": ["7", "7"],
        "index": [7, 7],
        "confidence": "float64",
        "tensors": [3],
        "live": True,
        "ready": True,
        "model": [True, True],
    }
    over_http = {"other": "404", "broken": "400", "version": "404"}
    names = {"404": "NOT_FOUND", "400": "INVALID_ARGUMENT"}
    over_grpc = {what: f"StatusCode.{names[status]}" for what, status in over_http.items()}
    assert found["http"] == answers | over_http
    assert found["grpc"] == answers | over_grpc
    assert found["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert found["outputs"] == found["grpc outputs"] == OUTPUTS
    assert found["index"] == found["grpc index"] == ["digits"]
    assert found["server"] == found["grpc server"] == "marsmith"


def test_kserves_client_with_v1_v2_and_grpc(python: Path, port: int) -> None:
    found = said(python, "kserve", port)
    assert (found["v1"], found["explained"], found["v1 ready"]) == (["7", "7"], ["7"], True)
    assert found["ready"] == found["grpc ready"] == [True, True, True]
    assert found["v2 bytes"] == found["grpc bytes"] == ["a", [7, 7]]
    assert found["v2 pixels"] == found["v2 binary pixels"] == found["grpc pixels"]
