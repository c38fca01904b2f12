from __future__ import annotations

import json
from pathlib import Path

import pytest

from marsmith.archive.reader import Archive
from marsmith.worker.choice import Needs, needs
from tests.projects import write_files

ONNX = {"serializedFile": "model.onnx"}
PLAIN = "def handle(data, context): ...\n"


def archive(folder: Path, files: dict[str, str], **model: str) -> Archive:
    values = {"modelName": "own", "handler": "own.py", **model}
    manifest = json.dumps({"model": values})
    write_files(folder, {**files, "MAR-INF/MANIFEST.json": manifest})
    return Archive(folder)


@pytest.mark.parametrize(
    ("files", "model", "needed"),
    [
        ({"own.py": PLAIN}, {}, Needs.NOTHING),
        ({"own.py": "import onnxruntime\nimport numpy"}, ONNX, Needs.NOTHING),
        ({"own.py": PLAIN}, {"serializedFile": "model.xml"}, Needs.NOTHING),
        ({"own.py": PLAIN}, {"handler": "own.py:go"}, Needs.NOTHING),
        ({"own.py": "x = "}, {}, Needs.NOTHING),
        # A model that PyTorch runs.
        ({"own.py": PLAIN}, {"serializedFile": "model.pt"}, Needs.TORCH),
        ({"own.py": PLAIN, "net.py": ""}, {"modelFile": "net.py"}, Needs.TORCH),
        ({"own.py": "import torch"}, ONNX, Needs.TORCH),
        ({"own.py": "from torchvision.ops import nms"}, ONNX, Needs.TORCH),
        ({"own.py": "import mine", "mine.py": "from torch import nn"}, ONNX, Needs.TORCH),
        (
            {"own.py": "import a.b", "a/__init__.py": "import torch", "a/b.py": ""},
            ONNX,
            Needs.TORCH,
        ),
        # What only other engines import.
        ({"own.py": "def f():\n    import torch"}, ONNX, Needs.NOTHING),
        ({"own.py": "def f():\n    import mine", "mine.py": "import torch"}, ONNX, Needs.NOTHING),
        ({"own.py": "try:\n    import torch\nexcept ImportError: ..."}, ONNX, Needs.NOTHING),
        ({"own.py": "def f():\n    import torch"}, {}, Needs.TORCH),
        # What is TorchServe's.
        ({"own.py": "from ts.torch_handler.base_handler import B"}, ONNX, Needs.TORCHSERVE),
        ({"own.py": "def f():\n    import ts.utils.util"}, ONNX, Needs.TORCHSERVE),
        ({}, {"handler": "image_classifier"}, Needs.TORCHSERVE),
        ({"own.pyc": ""}, {}, Needs.TORCHSERVE),
        ({"own.py": PLAIN}, {"envelope": "kserve"}, Needs.TORCHSERVE),
    ],
)
def test_what_an_archive_needs_is_read_from_its_files(
    tmp_path: Path, files: dict[str, str], model: dict[str, str], needed: Needs
) -> None:
    assert needs(archive(tmp_path, files, **model)) is needed
