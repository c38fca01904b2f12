from __future__ import annotations

import pytest

from marsmith.init.replaced_head import Shape, read_head

HEADS: list[tuple[dict[str, Shape], str, bool]] = [
    ({"weight": (3, 8), "bias": (3,)}, "nn.Linear(8, 3)", False),
    ({"weight": (3, 8)}, "nn.Linear(8, 3, bias=False)", False),
    ({"weight": (3, 8, 1, 1), "bias": (3,)}, "nn.Conv2d(8, 3, 1)", False),
    ({"weight": (3, 8, 3, 3)}, "nn.Conv2d(8, 3, 3, padding=1, bias=False)", True),
    ({"1.weight": (3, 8), "1.bias": (3,)}, "nn.Sequential(nn.Dropout(), nn.Linear(8, 3))", False),
    (
        {"0.weight": (4, 8), "3.weight": (3, 4)},
        "nn.Sequential(nn.Linear(8, 4, bias=False), nn.ReLU(), nn.Dropout(), "
        "nn.Linear(4, 3, bias=False))",
        True,
    ),
    (
        {"0.weight": (8,), "0.bias": (8,), "0.running_mean": (8,), "0.running_var": (8,)},
        "nn.Sequential(nn.BatchNorm1d(8))",
        False,
    ),
    ({"0.weight": (8,), "0.bias": (8,)}, "nn.Sequential(nn.LayerNorm(8))", False),
    (
        {"a.weight": (3, 4), "b.weight": (4, 8)},  # sorted by name, as safetensors are
        'nn.Sequential(OrderedDict([("b", nn.Linear(8, 4, bias=False)), ("relu1", nn.ReLU()), '
        '("a", nn.Linear(4, 3, bias=False))]))',
        True,
    ),
]
UNKNOWN: list[dict[str, Shape]] = [
    {},
    {"bias": (3,)},
    {"weight": (3, 8), "weight_g": (3, 1)},
    {"weight": (3, 8), "more.weight": (3, 8)},
    {"weight": (3, 8, 2, 2)},
    {"0.weight": (4, 8), "1.weight": (3, 5)},
    {"a.weight": (4, 8), "b.weight": (3, 5)},
    {"900.weight": (4, 8)},
]


@pytest.mark.parametrize(("shapes", "code", "assumed"), HEADS)
def test_a_head_is_written(shapes: dict[str, Shape], code: str, assumed: bool) -> None:
    head = read_head(shapes)
    assert head is not None
    assert (head.expression, head.assumed) == (code, assumed)


@pytest.mark.parametrize("shapes", UNKNOWN)
def test_what_tensors_do_not_tell_is_not_guessed(shapes: dict[str, Shape]) -> None:
    assert read_head(shapes) is None
