"""Requests that check sends besides an archive's own samples.

A probe is a whole request, so that other families (forms, tensors) need no change where it is sent.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageOps

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request
from marsmith.answers.requests import JSON
from marsmith.weights.torch_writer import torch_tensor

GARBAGE = Request(b"\x00no image\xff" * 3, "application/octet-stream")
_SIDE = 224
_SHAPE = (1, 3, 64, 64)
_NAMES = 12  # at most, of form fields or keys
_TEXT = "A cat sits on the mat."


@dataclass(frozen=True)
class Probe:
    """A made-up request; `what` names its kind."""

    what: str
    request: Request


def picture_probes() -> Iterator[Probe]:
    """Yield pictures of the kinds that people send, the most usual one first."""
    grey = Image.radial_gradient("L").resize((_SIDE, _SIDE))
    colour = _coloured(grey.convert("RGB"))
    yield _picture("an RGB PNG", colour, "PNG")
    yield _picture("an RGB JPEG", colour, "JPEG")
    yield _picture("a grey PNG", grey, "PNG")
    yield _picture("a PNG with transparency", colour.convert("RGBA"), "PNG")
    yield _picture("a PNG with a palette", colour.convert("P"), "PNG")
    yield _picture("a PNG of 1 bit", grey.convert("1"), "PNG")
    deep = grey.convert("I").point(lambda value: value * 257).convert("I;16")
    yield _picture("a grey PNG of 16 bits", deep, "PNG")
    yield _picture("a CMYK JPEG", colour.convert("CMYK"), "JPEG")
    yield _picture("a tiny PNG (8 x 6 pixels)", colour.resize((8, 6)), "PNG")
    yield _picture("a large JPEG (1600 x 1200 pixels)", colour.resize((1600, 1200)), "JPEG")


def wrapped_probes(names: Sequence[str]) -> Iterator[Probe]:
    """Yield a picture in forms and in JSON, under all names at once that a handler reads."""
    picture = next(picture_probes())
    body = picture.request.body
    named = " and ".join(map(repr, names))
    fields = [Field(name, body, "picture.png", "image/png") for name in names]
    yield Probe(f"an RGB PNG in the form field {named}", form(fields))
    text = base64.b64encode(body).decode()
    values = dict.fromkeys(names, text)
    yield _json(f"JSON with an RGB PNG in {named}", values)
    yield _json(f"KServe's JSON with an RGB PNG in {named}", {"instances": [values]})
    one = {"name": names[0], "shape": [1], "datatype": "BYTES", "data": [text]}
    yield _json("KServe's JSON, version 2, with an RGB PNG", {"inputs": [one]})


def other_probes(names: Sequence[str]) -> Iterator[Probe]:
    """Yield requests for archives that answer no pictures: a tensor, text and JSON."""
    tensor = torch_tensor(_SHAPE, bytes(4 * math.prod(_SHAPE)))
    yield Probe(f"a tensor of shape {_SHAPE}, as torch.save writes it", Request(tensor))
    numbers = [0.1, 0.2, 0.3, 0.4]
    named = dict.fromkeys(names, numbers)
    values = (numbers, [numbers], named, {"instances": [named]}, dict.fromkeys(names, _TEXT))
    texts = [json.dumps(one) for one in values]
    # Without a type, a worker hands over bytes; with one, a text or the values.
    for content_type in ("", "text/plain"):
        kind = f" as {content_type}" if content_type else ""
        yield Probe(f"text{kind}", Request(_TEXT.encode(), content_type))
    for text in texts:
        for content_type in ("", JSON):
            kind = f" as {content_type}" if content_type else ""
            yield Probe(f"{text}{kind}", Request(text.encode(), content_type))


def names_read(text: bytes) -> list[str]:
    """Return the names that a handler's code reads from dicts, such as those of form fields.

    `data` is first, the name in TorchServe's examples; `body` is what holds a request without any.
    """
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        nodes = []
    read = [node.slice for node in nodes if isinstance(node, ast.Subscript)]
    read += [
        node.args[0]
        for node in nodes
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith(".get")
    ]
    texts = [one.value for one in read if isinstance(one, ast.Constant)]
    names = [one for one in texts if isinstance(one, str) and one != "body"]
    return list(dict.fromkeys(["data", *names]))[:_NAMES]


def others_like(request: Request) -> Iterator[Request]:
    """Yield requests of the same kind and size with other content, for pictures and JSON."""
    for body in _bodies_like(request.body):
        yield replace(request, body=body)


def _bodies_like(body: bytes) -> Iterator[bytes]:
    try:
        with Image.open(io.BytesIO(body)) as opened:
            image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
            coloured = _coloured(image)
            for other in (coloured, ImageOps.invert(coloured), ImageOps.invert(image)):
                yield _encoded(other, "PNG")
    except Exception:  # Pillow can raise anything for other bytes
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            return
        if (other := _reversed(values)) != values:
            yield json.dumps(other).encode()


def _coloured(image: Image.Image) -> Image.Image:
    """Return a picture of the same size and mode with red, blue and black areas."""
    other = Image.new("RGB", image.size, "red")
    half = image.width // 2, image.height // 2
    other.paste("blue", (*half, *image.size))
    other.paste("black", (0, half[1], half[0], image.height))
    return other.convert(image.mode)


def _json(what: str, values: Any) -> Probe:
    return Probe(what, Request(json.dumps(values).encode(), JSON))


def _picture(what: str, image: Image.Image, form: str) -> Probe:
    return Probe(what, Request(_encoded(image, form)))


def _encoded(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def _reversed(value: Any) -> Any:
    """Return JSON values with each list of numbers reversed."""
    if isinstance(value, dict):
        return {key: _reversed(one) for key, one in value.items()}
    if isinstance(value, list):
        plain = all(isinstance(one, (int, float)) for one in value)
        return value[::-1] if plain else [_reversed(one) for one in value]
    return value
