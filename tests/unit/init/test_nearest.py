from __future__ import annotations

from marsmith.init.nearest import nearest
from tests.codes import tells
from tests.unit.init.networks import architectures, network, shapes


def test_the_nearest_says_what_differs() -> None:
    found = shapes(network("resnet18", num_classes=3), "model.")
    first = nearest(found | {"model.conv1.weight": (64, 1, 7, 7)}, architectures())[0]
    assert first.architecture.models[0].name == "resnet18"
    assert 0.9 < first.share < 1
    (difference,) = first.differences
    assert tells(difference, "model.conv1.weight", "64 x 1 x 7 x 7", "64 x 3 x 7 x 7")


def test_nothing_is_near_to_strange_tensors() -> None:
    assert nearest({"a.weight": (3, 3)}, architectures()) == []
