"""marsmith/building/class_names.py."""

from __future__ import annotations

import io
import json

import pytest
import torch

from marsmith.building.preflight import check_spec
from marsmith.core.findings import Finding
from tests.projects import MODEL, minimal_spec
from tests.unit.conftest import MakeProject

NAMES = "names/index_to_name.json"
EXTRA = f'extra_files = ["{NAMES}"]\n'
THREE = {"0": "a", "1": ["n01", "b"], "2": "a"}


def findings(
    project: MakeProject, content: object, handler: str = "image_classifier", source: str = ""
) -> list[Finding]:
    """Return what is found of a map; `content` that is no bytes is written as JSON."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    spec = minimal_spec(EXTRA, handler=handler)
    tiny = project({NAMES: text, "handler.py": f"{source}\nclass Own: ...\n"}, spec)
    return [one for one in check_spec(tiny, tiny.archives["tiny"]) if one.file == NAMES]


@pytest.mark.parametrize(
    "content",
    [THREE, {"object_type_names": ["a", "b"]}, b'\xef\xbb\xbf{"0": "a"}'],
    ids=["text and lists, two of one name", "the old form", "a byte order mark"],
)
def test_a_map_that_torchserve_takes_is_fine(project: MakeProject, content: object) -> None:
    assert findings(project, content) == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", ""),
        (b"\xff", ""),
        (["a", "b"], ""),
        ({"a": 0, "b": 1}, ""),
        ({"0": "a", "1": None}, "1"),
        ({"0": []}, "0"),
        ({"0": ["a", 1]}, "0"),
        ({"0": {"name": "a"}}, "0"),
        ({"1": "a", "2": "b"}, "1"),
        ({"0": "a", "2": "b"}, "1"),
        ({"0": "a", "cat": "b"}, "'cat'"),
        ({"00": "a"}, "'00'"),
        ({}, ""),
        ({"object_type_names": []}, ""),
        (b'{"0": ' + 100_000 * b"[" + 100_000 * b"]" + b"}", ""),
        ({"9" * 5000: "a"}, "'9999"),
        (b'{"0": "a", "1": "b", "1": "c"}', "'1'"),
        ({"0": "a", "1": " "}, "1"),
        ({"0": ["n01", ""]}, "0"),
    ],
)
def test_what_a_handler_would_refuse_or_miss_is_an_error(
    project: MakeProject, content: object, named: str
) -> None:
    (found,) = findings(project, content)
    assert (found.rule, found.severity.value) == ("class-names", "error")
    assert found.location == f"{NAMES}:1"
    assert named in found.message


@pytest.mark.parametrize(
    ("source", "severity"),
    [
        ("from ts.torch_handler.base_handler import BaseHandler", "error"),
        ("from marsmith_handlers.image_classifier import ImageClassifier", "error"),
        ("import json", "warning"),
    ],
)
def test_a_handler_of_ones_own_may_read_it_otherwise(
    project: MakeProject, source: str, severity: str
) -> None:
    (found,) = findings(project, ["a"], "handler.py", source)
    assert found.severity.value == severity


@pytest.mark.parametrize("module", ["ts.torch_handler", "marsmith_handlers"])
def test_a_detector_may_leave_out_indices(project: MakeProject, module: str) -> None:
    source = f"from {module}.object_detector import ObjectDetector"
    assert findings(project, {"1": "person", "3": "car"}, "handler.py", source) == []
    assert [one.rule for one in findings(project, ["person"], "handler.py", source)] == [
        "class-names"
    ]


LINEAR = torch.nn.Linear(2, 4)
PLAIN = torch.nn.Linear(2, 4, bias=False)
CONVOLUTION = torch.nn.Conv2d(2, 4, 1)
DECONVOLUTION = torch.nn.ConvTranspose2d(2, 4, 3)
FIRST = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Linear(5, 4))
NORM = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.LayerNorm(4))
SEGMENTER = "from marsmith_handlers.image_segmenter import ImageSegmenter"


@pytest.mark.parametrize(
    ("model", "count", "severities"),
    [
        (LINEAR, 3, ["error"]),
        (LINEAR, 4, []),
        (LINEAR, 5, ["error"]),
        (CONVOLUTION, 4, []),
        (CONVOLUTION, 5, ["error"]),
        (CONVOLUTION, 2, ["warning"]),  # a pixel shuffle may follow
        (DECONVOLUTION, 4, []),
        (DECONVOLUTION, 3, ["error"]),
        (PLAIN, 4, []),
        (PLAIN, 3, ["warning"]),  # it may be no layer at all
        (FIRST, 5, ["warning"]),  # the first one made may be the last to run
        (torch.nn.Linear(2, 1), 2, ["warning"]),
        (NORM, 3, []),
    ],
)
def test_another_count_than_that_of_the_weights_is_found(
    project: MakeProject, model: torch.nn.Module, count: int, severities: list[str]
) -> None:
    assert counted(project, model, count, "image_classifier") == severities


@pytest.mark.parametrize(("source", "severity"), [(SEGMENTER, "error"), ("import json", "warning")])
def test_a_handler_of_ones_own_may_count_otherwise(
    project: MakeProject, source: str, severity: str
) -> None:
    assert counted(project, LINEAR, 3, "handler.py", source) == [severity]


def test_a_segmenter_of_one_score_has_two_classes(project: MakeProject) -> None:
    assert counted(project, torch.nn.Conv2d(2, 1, 1), 2, "handler.py", SEGMENTER) == []


def counted(
    project: MakeProject, model: torch.nn.Module, count: int, handler: str, source: str = ""
) -> list[str]:
    """Return how severe it is that the weights of a model come with that many names."""
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    files: dict[str, str | bytes] = {"net.py": MODEL, "net.pth": weights.getvalue()}
    files["handler.py"] = f"{source}\nclass Own: ...\n"
    files[NAMES] = json.dumps({str(index): "x" for index in range(count)})
    more = 'model_file = "net.py"\nserialized_file = "net.pth"\n'
    tiny = project(files, minimal_spec(more + EXTRA, handler=handler))
    found = [one for one in check_spec(tiny, tiny.archives["tiny"]) if one.file == NAMES]
    assert all(one.rule == "class-names" for one in found)
    return [one.severity.value for one in found]
