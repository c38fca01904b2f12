from __future__ import annotations

from pathlib import Path

import pytest
import torch

from marsmith.core.errors import ProjectError
from marsmith.init.own_class import plan_for_own_class
from marsmith.init.templates import TEMPLATES, network_file, random_tensors
from marsmith.weights.torch_writer import write_torch_zip

pytestmark = pytest.mark.processes


def own_class(root: Path, text: str, place: str) -> Path:
    with random_tensors(TEMPLATES["classifier"]) as tensors, (root / "in.pth").open("wb") as file:
        write_torch_zip(file, tensors)
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text(text)
    return root / place


def test_an_own_class_is_used_where_it_is(tmp_path: Path) -> None:
    path = own_class(tmp_path, network_file(TEMPLATES["classifier"], "a", "Net"), "nets/mine.py")
    plan = plan_for_own_class(tmp_path, "a", path, tmp_path / "in.pth", "classifier", ["a", "b"])
    assert (plan.model_text, plan.model_path, plan.classes) == (None, "nets/mine.py", ("a", "b"))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone."])
def test_an_own_class_gets_its_names(tmp_path: Path, prefix: str) -> None:
    path = own_class(tmp_path, network_file(TEMPLATES["classifier"], "a", "Net"), "mine.py")
    state = torch.load(tmp_path / "in.pth", weights_only=True)
    wrapped = {f"{prefix}{name}": one for name, one in state.items()}
    torch.save({"state_dict": wrapped | {"criterion.weight": torch.ones(3)}}, tmp_path / "in.pth")
    plan = plan_for_own_class(tmp_path, "a", path, tmp_path / "in.pth", "classifier", [])
    assert plan.tensors.keys() == state.keys()


def test_an_own_class_that_differs_is_refused(tmp_path: Path) -> None:
    text = network_file(TEMPLATES["classifier"], "a", "Net").replace("(32, 3)", "(32, 4)")
    path = own_class(tmp_path, text, "mine.py")
    with pytest.raises(ProjectError) as error:
        plan_for_own_class(tmp_path, "a", path, tmp_path / "in.pth", "classifier", [])
    assert error.value.code == "network-differs"


def test_an_own_class_outside_the_project_is_refused(tmp_path: Path) -> None:
    path = own_class(tmp_path, "", "mine.py")
    root = tmp_path / "project"
    with pytest.raises(ProjectError) as error:
        plan_for_own_class(root, "a", path, tmp_path / "in.pth", "classifier", [])
    assert error.value.code == "model-file-outside"
