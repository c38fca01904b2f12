"""Sound projects of every kind: `marsmith check` must find nothing at all in them."""

from __future__ import annotations

import datetime
import importlib.util
import io
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.worker.runtime import Runtime
from tests.projects import Tiny, new_model

Project = Callable[[Tiny], None]
SOUND: dict[str, Project] = {}


def sound(project: Project) -> Project:
    """Register a project in which nothing must be found."""
    SOUND[project.__name__] = project
    return project


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_found(name: str, tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    SOUND[name](tiny)
    checked = tiny.check()
    assert checked.findings == ()
    assert checked.figures.keys() == {"load", "answer"}


# ---- the tiny handler, models in all formats


@sound
def eager(tiny: Tiny) -> None:
    pass


def scripted(model: torch.nn.Module, *examples: torch.Tensor) -> bytes:
    """Return TorchScript: traced with examples, else compiled."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: Any = torch.jit.trace(model, examples) if examples else torch.jit.script(model)  # type: ignore[no-untyped-call]
        torch.jit.save(made, buffer)
    return buffer.getvalue()


def trained(tiny: Tiny) -> torch.nn.Module:
    model: torch.nn.Module = new_model().eval()
    model.load_state_dict(tiny.state)
    return model


def without_model_file(tiny: Tiny, file: str, *load: str) -> None:
    """Let the handler load a file that has the model with it."""
    tiny.spec(('model_file = "model.py"\n', ""), ('"weights.pth"', f'"{file}"'))
    text = (tiny.root / "handler.py").read_text()
    start, end = text.index("        self.model = Model"), text.index("    def handle")
    lines = "".join(f"        {line}\n" for line in load)
    tiny.write("handler.py", f"{text[:start]}{lines}\n{text[end:]}")
    tiny.handler(("from model import Model\n", ""))


TORCHSCRIPT = 'self.model = torch.jit.load(f"{folder}/model.pt").eval()'


@sound
def torchscript_traced(tiny: Tiny) -> None:
    tiny.write("model.pt", scripted(trained(tiny), torch.ones(1, 4)))
    without_model_file(tiny, "model.pt", TORCHSCRIPT)


@sound
def torchscript_under_another_ending(tiny: Tiny) -> None:
    tiny.write("model.pth", scripted(trained(tiny), torch.ones(1, 4)))
    without_model_file(tiny, "model.pth", TORCHSCRIPT.replace("model.pt", "model.pth"))


@sound
def exported_program(tiny: Tiny) -> None:
    batch = {0: torch.export.Dim.AUTO}
    program = torch.export.export(trained(tiny), (torch.ones(2, 4),), dynamic_shapes=(batch,))
    torch.export.save(program, tiny.root / "model.pt2")
    load = 'self.model = torch.export.load(f"{folder}/model.pt2").module()'
    without_model_file(tiny, "model.pt2", load)


@sound
def onnx(tiny: Tiny) -> None:
    batch = {0: torch.export.Dim.AUTO}
    program = torch.export.export(trained(tiny), (torch.ones(2, 4),), dynamic_shapes=(batch,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(program, dynamo=True, verbose=False)
    assert written is not None
    written.save(tiny.root / "model.onnx", external_data=False)
    without_model_file(
        tiny,
        "model.onnx",
        "import onnxruntime",
        'session = onnxruntime.InferenceSession(f"{folder}/model.onnx")',
        "(given,) = session.get_inputs()",
        "self.model = lambda x: torch.from_numpy(session.run(None, {given.name: x.numpy()})[0])",
    )


@sound
def downloads_that_nobody_asks_for(tiny: Tiny) -> None:
    """Names as libraries have them, of functions of one's own; and a method that nobody calls."""
    tiny.model(
        (
            "    def forward",
            "    @classmethod\n"
            "    def from_pretrained(cls, place, weights='', pretrained=False):\n"
            "        return cls()\n\n"
            "    def fetch(self, models):\n"
            "        from torchvision import models\n"
            "        return models.resnet18(weights='DEFAULT')\n\n"
            "    def forward",
        )
    )
    made = "Model.from_pretrained('tiny', weights='weights.pth', pretrained=True).eval()"
    tiny.handler(("Model().eval()", made))


@sound
def files_that_only_look_dangerous(tiny: Tiny) -> None:
    tiny.write("music.key", "C major")
    tiny.write("table.pkl", pickle.dumps({"a": [1.5], "b": datetime.date(2024, 1, 1)}))
    tiny.write("arrays.npz", b"PK\x03\x04 of no archive")
    names = '"music.key", "table.pkl", "arrays.npz"'
    tiny.spec(('version = "1.0"', f'version = "1.0"\nextra_files = [{names}]'))


@sound
def answers_in_parts(tiny: Tiny) -> None:
    tiny.handler(
        (
            "        return answers",
            "        from ts.handler_utils.utils import send_intermediate_predict_response\n"
            "        texts = [json.dumps(answer) for answer in answers]\n"
            "        halves = [text[:9] for text in texts]\n"
            "        ids = context.request_ids\n"
            "        send_intermediate_predict_response(halves, ids, 'part', 200, context)\n"
            "        return [text[9:] for text in texts]",
        )
    )


# ---- TorchServe's own handlers, of pictures


CONVOLUTION = """\
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=32)

    def forward(self, pictures):
        {forward}
"""
CLASSES = "return self.convolution(pictures).mean((2, 3))"
SEGMENTS = 'return {"out": self.convolution(pictures)}'
BOXES = """\
values = self.convolution(pictures).mean((2, 3)) * 100
        labels, scores = torch.tensor([1, 2]), torch.tensor([0.9, 0.6])
        return [
            {"boxes": row.reshape(2, 4), "labels": labels, "scores": scores} for row in values
        ]"""
NAMES = json.dumps({str(index): [f"n{index}", f"class {index}"] for index in range(8)})


def answer_recorded(tiny: Tiny, *, in_process: bool = True) -> None:
    """Make the answer what the archive says now; in this process captum is imported but once."""
    (built,) = build(tiny.project, ("tiny",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchServe's handlers, about what they call
        with Runtime(Archive(built.path), timeout=60, in_process=in_process) as run:
            answer = run.predict((tiny.root / "cat.png").read_bytes())
    assert answer.ok, answer.text
    tiny.write("answer.json", answer.body)
    build(tiny.project)


def pictures(tiny: Tiny, handler: str, forward: str) -> Any:
    """Make a project of pictures with one of TorchServe's handlers; return its model."""
    tiny.write("model.py", CONVOLUTION.format(forward=forward))
    spec = importlib.util.spec_from_file_location("model", tiny.root / "model.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    model = module.Model().eval()
    tiny.save(model.state_dict())
    picture = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(picture, "PNG")
    tiny.write("cat.png", picture.getvalue())
    # One bad request fails the whole batch of these handlers, of which the check warns.
    tiny.spec(('"handler.py"', f'"{handler}"'), ("batchSize = 4", "batchSize = 1"))
    tiny.spec(('request = "sample.json"', 'request = "cat.png"'))
    return model


@sound
def image_classifier(tiny: Tiny) -> None:
    pictures(tiny, "image_classifier", CLASSES)
    tiny.write("index_to_name.json", NAMES)
    tiny.spec(('version = "1.0"', 'version = "1.0"\nextra_files = ["index_to_name.json"]'))
    answer_recorded(tiny, in_process=False)  # tests import one of this name
    assert all(name.startswith("class ") for name in json.loads(read(tiny, "answer.json")))


def read(tiny: Tiny, name: str) -> str:
    return (tiny.root / name).read_text()


@sound
def image_classifier_of_compiled_torchscript(tiny: Tiny) -> None:
    model = pictures(tiny, "image_classifier", CLASSES)
    tiny.write("model.pt", scripted(model))
    tiny.spec(('model_file = "model.py"\n', ""), ('"weights.pth"', '"model.pt"'))
    answer_recorded(tiny, in_process=False)  # tests import one of this name


@sound
def image_segmenter(tiny: Tiny) -> None:
    pictures(tiny, "image_segmenter", SEGMENTS)
    answer_recorded(tiny)


@sound
def object_detector(tiny: Tiny) -> None:
    pictures(tiny, "object_detector", BOXES)
    answer_recorded(tiny)


@sound
def handler_derived_from_torchserves(tiny: Tiny) -> None:
    pictures(tiny, "handler.py", CLASSES)
    tiny.write(
        "handler.py",
        "from torchvision import transforms\n"
        "from ts.torch_handler.image_classifier import ImageClassifier\n\n\n"
        "class Own(ImageClassifier):\n"
        "    topk = 2\n"
        "    image_processing = transforms.Compose(\n"
        "        [transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor(),\n"
        "         transforms.Normalize([0.5] * 3, [0.5] * 3)]\n"
        "    )\n",
    )
    answer_recorded(tiny)


@sound
def base_handler(tiny: Tiny) -> None:
    """It takes no bytes at all, so it needs a handler around it; here what people write first."""
    pictures(tiny, "handler.py", CLASSES)
    tiny.write(
        "handler.py",
        "import io\n\nimport torch\nfrom PIL import Image\n"
        "from torchvision.transforms import functional\n"
        "from ts.torch_handler.base_handler import BaseHandler\n\n\n"
        "class Own(BaseHandler):\n"
        "    def preprocess(self, data):\n"
        "        bodies = [row.get('data') or row.get('body') for row in data]\n"
        "        opened = [Image.open(io.BytesIO(body)).convert('RGB') for body in bodies]\n"
        "        return torch.stack([functional.to_tensor(one) for one in opened])\n",
    )
    answer_recorded(tiny)
