from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from marsmith.core.errors import ProjectError
from marsmith.init.compare_source import network_shapes
from marsmith.init.templates import TEMPLATES, network_file, random_tensors
from marsmith.weights.torch_writer import write_torch_zip

pytestmark = pytest.mark.processes


def load(kind: str, path: Path) -> Any:
    with random_tensors(TEMPLATES[kind]) as tensors, path.open("wb") as file:
        write_torch_zip(file, tensors)
    space: dict[str, Any] = {"__name__": "net"}
    exec(network_file(TEMPLATES[kind], "a", "Net"), space)  # noqa: S102 (Marsmith's own text)
    model = space["Net"]().eval()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("classifier", (1, 3)), ("segmenter", (1, 3, 60, 40)), ("image-to-image", (1, 3, 60, 40))],
)
def test_a_templates_weights_fit_its_network(
    tmp_path: Path, kind: str, shape: tuple[int, ...]
) -> None:
    with torch.inference_mode():
        assert load(kind, tmp_path / "a.pth")(torch.rand(1, 3, 60, 40)).shape == shape


def test_the_detector_answers_as_torchvisions_do(tmp_path: Path) -> None:
    model = load("detector", tmp_path / "a.pth")
    with torch.inference_mode():
        rows = model([torch.rand(3, 90, 120), torch.rand(3, 64, 64)])
    assert [row.keys() for row in rows] == [{"boxes", "labels", "scores"}] * 2
    boxes = rows[0]["boxes"]
    assert len(boxes) > 0
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 120).all()
    assert (boxes[:, 3] <= 90).all()


@pytest.mark.parametrize(("kind", "count"), [("classifier", 2), ("segmenter", 5), ("detector", 1)])
def test_a_template_with_other_classes_fits_its_network(kind: str, count: int) -> None:
    template = TEMPLATES[kind].with_classes([f"c{number}" for number in range(count)])
    with random_tensors(template) as tensors:
        shapes = {name: one.shape for name, one in tensors.items()}
        assert network_shapes(network_file(template, "a", "Net")) == shapes
    assert len(template.classes) == count


@pytest.mark.parametrize(
    ("kind", "classes"), [("image-to-image", ["a"]), ("classifier", ["a"]), ("segmenter", ["a"])]
)
def test_a_template_that_cannot_have_these_classes(kind: str, classes: list[str]) -> None:
    with pytest.raises(ProjectError) as error:
        TEMPLATES[kind].with_classes(classes)
    assert error.value.code == "class-count"


def test_random_weights_are_always_the_same(tmp_path: Path) -> None:
    load("classifier", tmp_path / "a.pth")
    load("classifier", tmp_path / "b.pth")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_a_template_is_what_its_class_says() -> None:
    kind = TEMPLATES["segmenter"]
    with random_tensors(kind) as tensors:
        shapes = {name: one.shape for name, one in tensors.items()}
        assert network_shapes(network_file(kind, "a", "Net")) == shapes
