from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.init.compare_source import require_fit
from marsmith.init.templates import TEMPLATES, network_file, random_tensors

pytestmark = pytest.mark.processes

CLASSIFIER = network_file(TEMPLATES["classifier"], "a", "Net")


def code(source: Path | str) -> str | None:
    """Return the code of the error; None if the network fits."""
    with random_tensors(TEMPLATES["classifier"]) as tensors:
        try:
            require_fit(source, tensors)
        except ProjectError as error:
            return error.code
    return None


def test_a_network_that_fits(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text("from torch import nn\n\nLinear = nn.Linear\n")
    text = CLASSIFIER.replace("import torch\n", "import torch\nfrom layers import Linear\n")
    (tmp_path / "net.py").write_text(text.replace("nn.Linear(", "Linear("))
    assert code(tmp_path / "net.py") is None


def test_a_network_that_differs() -> None:
    assert code(CLASSIFIER.replace("(32, 3)", "(32, 4)")) == "network-differs"


@pytest.mark.parametrize("text", ["import nothing_like_this\n", "x = 1\n", "class Net(\n"])
def test_what_is_no_network(text: str) -> None:
    assert code(text) == "network-not-built"
