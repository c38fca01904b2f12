"""`marsmith init` in empty folders, with the wheel in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from torch import nn
from torchvision import models

from marsmith.torchserve.ports import free_ports
from tests.integration.base_environment import (
    Environment,
    base_environment,
    build_distributions,
    copy_source,
)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "flowers": lambda: models.resnet18(num_classes=3),
    "masks": lambda: models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    ),
    "boxes": lambda: models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    ),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of the wheel and what `pip install 'marsmith[torchserve]' pytest` brings."""
    source = copy_source(tmp_path_factory.mktemp("source"))
    _, wheel = build_distributions(source, tmp_path_factory.mktemp("dist"))
    folder = tmp_path_factory.mktemp("installed") / "venv"
    return base_environment(folder, wheel, ("torch", "torchserve"), ("pytest",))


def run(environment: Environment, folder: Path, *words: str | Path) -> str:
    done = environment(*words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["classifier", "segmenter", "detector", "image-to-image"])
def test_a_template_is_built_checked_and_tested(
    installed: Environment, tmp_path: Path, kind: str
) -> None:
    run(installed, tmp_path, "marsmith", "init", "mine", "--template", kind)
    run(installed, tmp_path, "marsmith", "build")
    run(installed, tmp_path, "marsmith", "new-key", "owner")
    assert findings(installed, tmp_path) == []
    run(installed, tmp_path, "python", "-m", "pytest", "-q", "-W", "error")
    assert [name for name in staged(tmp_path) if name.endswith((".mar", ".key"))] == []


def findings(environment: Environment, folder: Path, *names: str) -> list[Any]:
    """Return what `check` finds, with the code or with the configuration."""
    found = json.loads(run(environment, folder, "marsmith", "check", *names, "--json"))
    return [finding for one in found for finding in one["findings"]]


def staged(folder: Path) -> list[str]:
    git = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=folder, env=git, check=True)
    command = ["git", "ls-files"]
    listed = subprocess.run(
        command, cwd=folder, env=git, capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


@pytest.fixture(scope="module")
def project(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, a segmenter and a detector, each made of a checkpoint."""
    folder = tmp_path_factory.mktemp("project")
    for name, build in NETWORKS.items():
        torch.manual_seed(0)
        state = {f"module.{key}": value for key, value in build().state_dict().items()}
        path = folder.parent / f"{name}.pth"
        torch.save({"state_dict": state, "epoch": 7}, path)
        words = ["init", name, "--weights", str(path), "--classes", "daisy,rose,tulip"]
        run(installed, folder, "marsmith", *words)
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_built_and_checked(installed: Environment, project: Path, name: str) -> None:
    run(installed, project, "marsmith", "build", name)
    assert findings(installed, project, name) == []


def test_weights_are_served(installed: Environment, project: Path) -> None:
    port = str(free_ports(5))
    run(installed, project, "marsmith", "serve", "--background", "--port", port)
    try:
        answers = {name: ask(project, port, name) for name in NETWORKS}
    finally:
        run(installed, project, "marsmith", "stop", "--port", port)
    assert set(answers["flowers"]["probabilities"]) == {"daisy", "rose", "tulip"}
    assert sum(one["share"] for one in answers["masks"]["classes"]) == pytest.approx(1, abs=1e-3)
    assert isinstance(answers["boxes"], list)


def ask(project: Path, port: str, name: str) -> Any:
    picture = (project / "samples/shapes.png").read_bytes()
    url = f"http://127.0.0.1:{port}/predictions/{name}"
    answer = httpx2.put(url, content=picture, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()
