"""Handlers whose engine is ONNX Runtime or OpenVINO, in a process that has no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from marsmith_handlers.model_loader import load_model
from marsmith_handlers.torch_engines import TorchEngine

from marsmith.programs.exported_formats import write_format
from tests.handlers.asking import DIGIT_CONFIG, DIGIT_MODEL, ROOT

# A host of its own, that knows neither torch nor TorchServe.
HOST = """
import json, sys
from types import SimpleNamespace

sys.modules["torch"] = None  # importing it is an ImportError from here on
name, file, folder, config, picture = sys.argv[1:]
module, _, handler = name.rpartition(".")
handler = getattr(__import__(module, fromlist=[handler]), handler)()
answered = {}
context = SimpleNamespace(
    manifest={"model": {"modelName": "model", "serializedFile": file}},
    model_yaml_config={"batchSize": 2, "handler_config": json.loads(config)},
    system_properties={"model_dir": folder, "gpu_id": None},
    get_all_request_header=lambda index: {},
    get_request_id=lambda index=0: "one",
    set_response_content_type=lambda index, value: None,
    set_response_header=lambda index, key, value: None,
    set_response_status=lambda code, phrase, idx: answered.update({idx: code}),
)
handler.initialize(context)
bodies = handler.handle([{"body": open(picture, "rb").read()}, {"body": b"text"}], context)
assert answered == {1: 400}, answered
loaded = [name for name in sys.modules if name.split(".")[0] in ("torch", "torchvision", "ts")]
assert loaded == ["torch"], loaded
print(bodies[0].decode())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digit model as ONNX and as OpenVINO, in a folder."""
    folder = tmp_path_factory.mktemp("exported")
    engine = load_model(ROOT / "weights", DIGIT_MODEL)
    assert isinstance(engine, TorchEngine)
    assert isinstance(engine.network, torch.nn.Module)
    with torch.no_grad():
        for kind, name in (("onnx", "digits.onnx"), ("openvino", "digits.xml")):
            example = torch.zeros(2, 1, 28, 28)
            write_format(engine.network, [example], kind, "float32", folder / name, [])
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("file", ["digits.onnx", "digits.xml"])
@pytest.mark.parametrize(
    "handler",
    ["marsmith_handlers.image_classifier.ImageClassifier", "digit_classifier.DigitClassifier"],
)
def test_no_torch_is_imported(exported: Path, file: str, handler: str) -> None:
    config: dict[str, Any] = DIGIT_CONFIG | {"threads": 1}
    picture = ROOT / "samples" / "seven.png"
    words = [handler, file, str(exported), json.dumps(config), str(picture)]
    found = subprocess.run(
        [sys.executable, "-c", HOST, *words],
        env={"PYTHONPATH": str(ROOT / "handlers")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["label"] == "7"


@pytest.mark.parametrize(
    "module", ["image_segmenter", "object_detector", "image_to_image", "rotation_corrector"]
)
def test_the_other_handlers_import_none_either(module: str) -> None:
    name = module if module == "rotation_corrector" else f"marsmith_handlers.{module}"
    code = f"import sys; sys.modules['torch'] = sys.modules['ts'] = None; import {name}"
    environment = {"PYTHONPATH": str(ROOT / "handlers")}
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert found.returncode == 0
