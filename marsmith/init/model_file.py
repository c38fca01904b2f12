"""The text of a model file: a class without arguments whose state_dict has the weights' names."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from marsmith.init.architectures import Model
from marsmith.init.names import Names
from marsmith.init.recognise import Match

_MODULES = {
    "classification": "torchvision.models",
    "segmentation": "torchvision.models.segmentation",
    "detection": "torchvision.models.detection",
}
_SETS_WITH_WEIGHTS = ("googlenet", "inception_v3")  # transform_input, which no tensor shows
_MOST_NAMED = 6


def model_file(names: Names, match: Match, model: Model, others: Sequence[Model]) -> str:
    """Return the file; `others` are the models that fit as well."""
    head = match.head.expression if match.head else ""
    imports = ["from torch import nn"]
    if "OrderedDict" in head:
        imports = ["from collections import OrderedDict", "", *imports]
    if model.library == "timm":
        imports = [*imports[:-1], "import timm", imports[-1]]
    else:
        imports.append(f"from {_MODULES[match.architecture.task]} import {model.name}")
    lines = [
        f'"""The network of the archive {names.archive}: {model.title}."""',
        "",
        *imports,
        "",
        "",
        f"class {names.network}(nn.Module):",
        '    """Its state_dict has the names that the weights have."""',
        "",
        "    def __new__(cls) -> nn.Module:",
        *textwrap.indent("\n".join(_body(match, model, others)), " " * 8).splitlines(),
    ]
    return "\n".join(lines) + "\n"


def _body(match: Match, model: Model, others: Sequence[Model]) -> list[str]:
    comments = [f"# {note}" for text in notes(match, model, others) for note in _wrapped(text)]
    if not match.head:
        return [*comments, f"return {_call(model, match.classes)}"]
    return [
        *comments,
        f"network = {_call(model, match.classes)}",
        f"network.{_attribute(match.head_place)} = {match.head.expression}",
        "return network",
    ]


def notes(match: Match, model: Model, others: Sequence[Model]) -> list[str]:
    """Return what the tensors do not tell, each in one sentence."""
    found = []
    if others:
        named = ", ".join(one.title for one in others[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        found.append(
            f"Not sure: {named}{more} have the same tensors. If the answers are wrong, use one "
            "of those."
        )
    if match.head and match.head.assumed:
        found.append(
            "Not sure: layers without tensors (ReLU, Dropout, a padding) are assumed. Compare "
            "the head with the training code."
        )
    if model.name in _SETS_WITH_WEIGHTS and model.library == "torchvision":
        found.append(
            "Not sure: if the training began with torchvision's weights, add transform_input=True."
        )
    return found


def _call(model: Model, classes: int | None) -> str:
    arguments = dict(model.arguments) | ({} if classes is None else {"num_classes": classes})
    if model.library == "timm":
        function, first = "timm.create_model", [json.dumps(model.name), "pretrained=False"]
    else:
        function, first = model.name, ["weights=None"]
    parts = [*first, *(f"{key}={value!r}" for key, value in arguments.items())]
    line = f"{function}({', '.join(parts)})"
    if len(line) < 80:
        return line
    return f"{function}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _attribute(place: str) -> str:
    """Turn `classifier.6` into `classifier[6]`."""
    first, *rest = place.split(".")
    return first + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 86)
