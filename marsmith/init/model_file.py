"""The text of a model file: a class without arguments whose state_dict has the weights' names."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from marsmith.init.architectures import Model
from marsmith.init.changed_stem import COLOURS, Stem
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
    changes = list(_changes(match, model))
    call = _call(match, model)
    if not changes:
        return [*comments, f"return {call}"]
    return [*comments, f"network = {call}", *changes, "return network"]


def _changes(match: Match, model: Model) -> Iterator[str]:
    """Yield the lines that change layers of the library's model; timm changes some itself."""
    by_timm = model.library == "timm"
    if match.head and not (by_timm and match.head.is_none):
        yield f"network.{_attribute(match.head_place)} = {match.head.expression}"
    if match.stem and not (by_timm and match.stem.same_kernel):
        layer = f"network.{_attribute(match.stem.place)}"
        bias = f"{match.stem.place}.bias" in match.architecture.tensors
        if match.stem.same_kernel:
            yield f"usual = {layer}"
        yield f"{layer} = {match.stem.expression('usual', bias=bias)}"


def notes(match: Match, model: Model, others: Sequence[Model]) -> list[str]:
    """Return what the tensors do not tell, each in one sentence."""
    found = []
    if others:
        named = ", ".join(one.title for one in others[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        found.append(
            f"Not sure: the tensors also fit {named}{more}. If the answers are wrong, use "
            + ("that." if len(others) == 1 else "one of those.")
        )
    if match.head and match.head.assumed:
        found.append(
            "Not sure: layers without tensors (ReLU, Dropout, a padding) are assumed. Compare "
            "the head with the training code."
        )
    if match.stem:
        found.append(_about_stem(match.stem))
    if model.name in _SETS_WITH_WEIGHTS and model.library == "torchvision":
        found.append(
            "Not sure: if the training began with torchvision's weights, add transform_input=True."
        )
    return found


def _about_stem(stem: Stem) -> str:
    channels = "one channel" if stem.channels == 1 else f"{stem.channels} channels"
    if stem.same_kernel:
        return f"{stem.place} takes {channels} here, where the library's model takes {COLOURS}."
    side, usual = stem.shape[2], stem.usual[2]
    return (
        f"Not sure: {stem.place} has a kernel of {side} x {side} here, where the library's model "
        f"has {usual} x {usual}. Its stride and padding are assumed. If training took off the "
        "pooling behind it, add: network.maxpool = nn.Identity()"
    )


def _call(match: Match, model: Model) -> str:
    classes = match.classes
    arguments = dict(model.arguments) | ({} if classes is None else {"num_classes": classes})
    if model.library == "timm":
        if match.head and match.head.is_none:
            arguments["num_classes"] = 0
        if match.stem and match.stem.same_kernel:
            arguments["in_chans"] = match.stem.channels
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
