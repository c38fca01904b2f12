"""A segmenter, a detector and a model of JSON, small enough to be certain what they answer."""

from __future__ import annotations

import io
import json

import torch
from PIL import Image

from tests.integration.kit import Kit

_SEGMENTER = """\
import torch


class Halves(torch.nn.Module):
    '''Ground where a picture is dark, "light" where it is light.'''

    def forward(self, images):
        light = images.mean(dim=1, keepdim=True)
        return {"out": torch.cat([1 - light, light], dim=1)}
"""
_DETECTOR = """\
import torch


class OneBox(torch.nn.Module):
    '''One box, from a quarter to three quarters of a picture.'''

    def forward(self, images):
        height, width = images[0].shape[1:]
        box = [[width / 4, height / 4, width * 3 / 4, height * 3 / 4]]
        score = torch.ones(1) * 0.9
        one = {"boxes": torch.tensor(box), "labels": torch.tensor([1]), "scores": score}
        return [one for _ in images]
"""
_OWN = "from marsmith_handlers.{module} import {name}\n\n\nclass Own({name}):\n    pass\n"
_SUM = """\
import json


class Sum:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [self.answer(row["body"]) for row in data]

    def answer(self, body):
        values = body if isinstance(body, list) else json.loads(bytes(body))
        return str(sum(values))
"""
_SPEC = """
[archives.{name}]
version = "1.0"
handler = "handlers/{name}_handler.py"
model_file = "model_defs/{name}.py"
serialized_file = "weights/nothing.pth"
extra_files = ["{name}/index_to_name.json"]
serving = {{ maxBatchDelay = 1 }}
handler_config = {{ longest_side = 256 }}
[[archives.{name}.samples]]
request = "samples/{name}.png"
response = "samples/{name}.json"
tolerance = 0.01
"""
_SUM_SPEC = """
[archives.sum]
version = "1.0"
handler = "handlers/sum_handler.py"
serving = { maxBatchDelay = 1 }
[[archives.sum.samples]]
request = "samples/sum.json"
response = "samples/sum.txt"
"""
_PLAIN = """\
class Plain:
    '''What a sample's header, its form or its text asks for.'''

    def initialize(self, context):
        pass

    def handle(self, data, context):
        kind = context.manifest["model"]["modelName"][6:]
        head = {k.lower(): v for k, v in context.get_all_request_header(0).items()}
        text = kind == "bytes"
        context.set_response_content_type(0, "text/plain" if text else "application/json")
        return [getattr(self, kind)(row, head) for row in data]

    def bytes(self, row, head):
        return str(len(row.get("body") or row.get("data") or b""))

    def form(self, row, head):
        size, word = len(row.get("photo", b"")), row.get("word", b"")
        return {"size": size, "word": bytes(word).decode(errors="replace")}

    def classes(self, row, head):
        return {"classes": ["cat", "dog"], "form": head.get("x-form", "")}
"""
_PLAIN_SPEC = """
[archives.{name}]
version = "1.0"
handler = "handlers/plain_handler.py"
[[archives.{name}.samples]]
request = "samples/{request}"
response = "samples/{name}.answer"
{more}
"""
_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="word"\r\n\r\nhello\r\n'
    b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.bin"\r\n\r\nabc\r\n--b--\r\n'
)
_BYTES = bytes(range(128, 256))
# name: request, expected answer, more of the sample. Two names differ in a sign only.
_PLAINS = {
    "plain-bytes": (_BYTES, b"128", 'headers = {Accept = "text/plain"}'),
    "plain_bytes": (_BYTES, b"128", 'headers = {Accept = "text/plain"}'),
    "plain-form": (
        _FORM,
        b'{"size": 3, "word": "hello"}',
        'content_type = "multipart/form-data; boundary=b"',
    ),
    "plain-classes": (
        b"some text",
        b'{"classes": ["cat", "dog"], "form": "seen"}',
        'headers = {X-Form = "seen"}',
    ),
}
_KINDS = {
    "light": ("image_segmenter", "ImageSegmenter", _SEGMENTER, {"0": "ground", "1": "light"}),
    "finder": ("object_detector", "ObjectDetector", _DETECTOR, {"1": "thing"}),
}
_ANSWERS = {
    "light": {
        "width": 80,
        "height": 60,
        "classes": [
            {"index": 0, "label": "ground", "share": 0.5, "colour": "#000000"},
            {"index": 1, "label": "light", "share": 0.5, "colour": "#800000"},
        ],
    },
    "finder": [{"box": [20, 15, 60, 45], "label": "thing", "index": 1, "score": 0.9}],
}


def halves(width: int = 80, height: int = 60) -> bytes:
    """Return a PNG whose left half is black, and whose right half is white."""
    image = Image.new("L", (width, height))
    image.paste(255, (width // 2, 0, width, height))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def add_models(kit: Kit) -> None:
    """Add `light`, a segmenter, `finder`, a detector, and `sum`, to a project."""
    spec = (kit.root / "archives.toml").read_text().partition("[archives.line-art]")
    spec_text = spec[0] + "[archives.rotation]" + spec[2].partition("[archives.rotation]")[2]
    torch.save({}, kit.root / "weights" / "nothing.pth")  # neither has anything to learn
    for name, (module, handler, model, labels) in _KINDS.items():
        kit.write(f"handlers/{name}_handler.py", _OWN.format(module=module, name=handler))
        kit.write(f"model_defs/{name}.py", model)
        kit.write(f"{name}/index_to_name.json", json.dumps(labels))
        kit.write(f"samples/{name}.json", json.dumps(_ANSWERS[name]))
        (kit.root / "samples" / f"{name}.png").write_bytes(halves())
        spec_text += _SPEC.format(name=name)
    kit.write("handlers/sum_handler.py", _SUM)
    kit.write("samples/sum.json", "[1, 2, 3]")
    kit.write("samples/sum.txt", "6")
    kit.write("archives.toml", spec_text + _SUM_SPEC)
    add_plain_models(kit)


def add_plain_models(kit: Kit) -> None:
    """Add models of bytes, of a form and of a text, whose samples say how they are asked."""
    kit.write("handlers/plain_handler.py", _PLAIN)
    spec_text = (kit.root / "archives.toml").read_text()
    for name, (request, answer, more) in _PLAINS.items():
        (kit.root / "samples" / f"{name}.request").write_bytes(request)
        (kit.root / "samples" / f"{name}.answer").write_bytes(answer)
        spec_text += _PLAIN_SPEC.format(name=name, request=f"{name}.request", more=more)
    kit.write("archives.toml", spec_text)
