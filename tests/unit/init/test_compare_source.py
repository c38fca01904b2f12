from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.init.compare_source import require_fit
from marsmith.init.templates import TEMPLATES, network_file, random_tensors

pytestmark = pytest.mark.processes

CLASSIFIER = network_file(TEMPLATES["classifier"], "a", "Net")


def code(source: Path | str) -> str:
    with random_tensors(TEMPLATES["classifier"]) as tensors, pytest.raises(ProjectError) as error:
        require_fit(source, tensors)
    return error.value.code


def test_a_network_that_fits(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text("from torch import nn\n\nLinear = nn.Linear\n")
    text = CLASSIFIER.replace("import torch\n", "import torch\nfrom layers import Linear\n")
    (tmp_path / "net.py").write_text(text.replace("nn.Linear(", "Linear("))
    with random_tensors(TEMPLATES["classifier"]) as tensors:
        require_fit(tmp_path / "net.py", tensors)


def test_a_network_that_differs() -> None:
    assert code(CLASSIFIER.replace("(32, 3)", "(32, 4)")) == "network-differs"


@pytest.mark.parametrize("text", ["import nothing_like_this\n", "x = 1\n", "class Net(\n"])
def test_what_is_no_network(text: str) -> None:
    assert code(text) == "network-not-built"
