"""What `marsmith init` has decided about a project, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marsmith.core.errors import ProjectError
from marsmith.init.architectures import Model
from marsmith.init.changed_stem import COLOURS
from marsmith.init.model_file import model_file, notes
from marsmith.init.names import Names
from marsmith.init.recognise import EMBEDDING, Match
from marsmith.init.templates import Template, network_file
from marsmith.weights.tensors import Tensor

# Task → the module and the class of marsmith_handlers that serve it.
HANDLERS = {
    "classification": ("image_classifier", "ImageClassifier"),
    "segmentation": ("image_segmenter", "ImageSegmenter"),
    "detection": ("object_detector", "ObjectDetector"),
    "image-to-image": ("image_to_image", "ImageToImage"),
    EMBEDDING: ("image_handler", "ImageHandler"),  # the vector as it is
}
_BACKGROUND = "background"
_MODES = {1: "L", 4: "RGBA"}  # Pillow's, by their channels
_LONGEST = 520  # pixels, as torchvision's segmenters are trained


@dataclass(frozen=True)
class Plan:
    """A project to be written; `model_text` is None if `model_path` names the user's own file."""

    names: Names
    task: str
    title: str  # of the model, for people
    model_text: str | None
    tensors: Mapping[str, Tensor]
    handler_config: dict[str, Any]
    classes: tuple[str, ...]  # () if they are not known: then they are called by their number
    notes: tuple[str, ...] = ()  # what is not sure, a sentence each
    model_path: str = field(default="")

    @property
    def handler(self) -> tuple[str, str]:
        """The module and the class of the handler."""
        return HANDLERS[self.task]


def plan_for_match(
    names: Names,
    match: Match,
    model: Model,
    others: Sequence[Model],
    tensors: Mapping[str, Tensor],
    classes: Sequence[str],
) -> Plan:
    """Return the plan for a recognised model."""
    task = match.task
    inside = {
        name[len(match.prefix) :]: one
        for name, one in tensors.items()
        if name.startswith(match.prefix)
    }
    known = (*match.architecture.tensors, *match.architecture.heads)
    kept = {name: one for name, one in inside.items() if _belongs(name, known, match.head_place)}
    unsure = list(notes(match, model, others))
    if model.input:
        unsure.append("The size and the normalisation are the usual ones of this model.")
    if model.library != "torchvision":
        unsure.append(f"TorchServe's environment needs {model.library}.")
    if match.outputs == 1 and task == "classification":
        unsure.append(
            "There is one output, and softmax over one value is always 1: "
            "override `answers` in the handler, for example with a sigmoid."
        )
    if task == EMBEDDING:
        unsure.append(
            "The network has no head: it answers with the vector that a head would get. If your "
            "training put the head elsewhere, give the whole network with --model-file."
        )
    elif not classes:
        unsure.append("The names of the classes are not known.")
    title = f"{model.title}, {told_apart(match)}"
    text = model_file(names, match, model, others)
    named = named_classes(task, match.outputs, classes)
    config = handler_config(task, model.input, match.stem.channels if match.stem else COLOURS)
    return Plan(names, task, title, text, kept, config, named, tuple(unsure))


def told_apart(match: Match) -> str:
    """Return for people what the answers of a recognised model tell."""
    if match.task == EMBEDDING:
        return f"without its head: vectors of {match.outputs} numbers"
    return "1 class" if match.outputs == 1 else f"{match.outputs} classes"


def _belongs(name: str, known: Sequence[str], head_place: str) -> bool:
    layer = name.rpartition(".")[0]
    counts = name.endswith(".num_batches_tracked") and f"{layer}.weight" in known
    return name in known or counts or bool(head_place and name.startswith(f"{head_place}."))


def plan_for_template(names: Names, template: Template, tensors: Mapping[str, Tensor]) -> Plan:
    """Return the plan for a template."""
    text = network_file(template, names.archive, names.network)
    unsure = ("The weights are random: the answers mean nothing until you replace them.",)
    config = template.handler_config
    classes, title = template.classes, "a small model with random weights"
    return Plan(names, template.task, title, text, tensors, config, classes, unsure)


def named_classes(task: str, outputs: int, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each output. Raises ProjectError if there are more or fewer names.

    Segmenters and detectors have the background as class 0, which people leave out.
    """
    if task == EMBEDDING:
        if not classes:
            return ()
        raise ProjectError(
            "the network has no head, so there are no classes to name",
            "leave out --classes, or give weights that hold the head",
            code="class-count",
        )
    missing = outputs - len(classes)
    if classes and missing == 1 and task in ("segmentation", "detection"):
        return (_BACKGROUND, *classes)
    if not classes:
        return tuple(f"class {number}" for number in range(outputs))
    if missing:
        raise ProjectError(
            f"the model tells {outputs} classes apart, and {len(classes)} names are given",
            f"name all {outputs} in the order of the training: --classes NAME,NAME,…",
            code="class-count",
        )
    return tuple(classes)


def handler_config(task: str, about: Mapping[str, Any], channels: int = COLOURS) -> dict[str, Any]:
    """Return how pictures go in, as the handlers call it.

    Raises ProjectError if pictures do not have that many channels.
    """
    if task == "detection" or not about:
        return {"threshold": 0.5} if task == "detection" else {}
    size = [about["size"], about["size"]]
    colours = _of_channels(channels, list(about["mean"]), list(about["std"]))
    if task == "segmentation":
        return {"longest_side": _LONGEST, **colours}
    return {"size": size, "crop": round(about["size"] / about["resize"], 4), **colours}


def _of_channels(channels: int, mean: list[float], std: list[float]) -> dict[str, Any]:
    """Return the colours' mode, mean and std; the usual ones are those of RGB."""
    if channels == COLOURS:
        return {"mean": mean, "std": std}
    if channels not in _MODES:
        raise ProjectError(
            f"the network takes {channels} channels, and a picture has 1, 3 or 4",
            "give --model-file with your network, and make its input in a handler of your own",
            code="input-channels",
        )
    means, stds = (round(sum(values) / COLOURS, 3) for values in (mean, std))
    return {"mode": _MODES[channels], "mean": [means], "std": [stds]}
