"""What `marsmith init` has decided about a project, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marsmith.core.errors import ProjectError
from marsmith.init.architectures import Model
from marsmith.init.model_file import model_file, notes
from marsmith.init.names import Names
from marsmith.init.recognise import Match
from marsmith.init.templates import Template, network_file
from marsmith.weights.tensors import Tensor

# Task → the module and the class of marsmith_handlers that serve it.
HANDLERS = {
    "classification": ("image_classifier", "ImageClassifier"),
    "segmentation": ("image_segmenter", "ImageSegmenter"),
    "detection": ("object_detector", "ObjectDetector"),
    "image-to-image": ("image_to_image", "ImageToImage"),
}
_BACKGROUND = "background"
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
    task = match.architecture.task
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
    if not classes:
        unsure.append("The names of the classes are not known.")
    title = f"{model.title}, {match.outputs} class{'es' if match.outputs != 1 else ''}"
    text = model_file(names, match, model, others)
    named = named_classes(task, match.outputs, classes)
    config = handler_config(task, model.input)
    return Plan(names, task, title, text, kept, config, named, tuple(unsure))


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


def handler_config(task: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return how pictures go in, as the handlers call it."""
    if task == "detection" or not about:
        return {"threshold": 0.5} if task == "detection" else {}
    size = [about["size"], about["size"]]
    colours = {"mean": list(about["mean"]), "std": list(about["std"])}
    if task == "segmentation":
        return {"longest_side": _LONGEST, **colours}
    return {"size": size, "crop": round(about["size"] / about["resize"], 4), **colours}
