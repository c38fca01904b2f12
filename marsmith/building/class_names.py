"""Would a handler find a name for each class in `index_to_name.json`? Asked before it is packed.

marsmith_handlers/class_names.py asks the same when a worker loads the archive, and knows how many
classes the model really has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from marsmith.core.errors import WeightsError
from marsmith.core.findings import Finding, Severity
from marsmith.project.entries import Entry, following
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.weights.any_format import read_model_file

NAMES_FILE = "index_to_name.json"
_EXAMPLE = 'write {"0": "name of the first class", "1": …}'
# Handlers that read the file as TorchServe does. Detectors may leave out indices, and background.
_READERS = ("ts.torch_handler", "marsmith_handlers")
# Handlers that need one name for each output of the model.
_STRICT = {
    "image_classifier",
    "ts.torch_handler.image_classifier",
    "marsmith_handlers.image_classifier",
    "marsmith_handlers.image_segmenter",
}
_MOST_DIGITS = 9  # of a class index
_Problem = tuple[str, str]


def check_class_names(
    project: Project, spec: ArchiveSpec, entries: list[Entry]
) -> Iterator[Finding]:
    """Yield why TorchServe's handlers or Marsmith's would refuse the names, or lack some."""
    entry = next((one for one in entries if one.name == NAMES_FILE), None)
    if entry is None or not entry.file.is_file():
        return
    modules = _modules(project, spec, entries)
    read = spec.handler_file is None or any(one.startswith(_READERS) for one in modules)
    severity = Severity.ERROR if read else Severity.WARNING
    values, problem = _parse(entry.file.read_bytes())
    if problem is None and not any("object_detector" in one for one in modules):
        problem = index_problem(values)
        head = None if problem else _head(project, spec, modules)
        if head is not None and len(values) != head.classes:
            problem = (
                f"it has {len(values)} names, and the weights {head.classes} classes",
                _EXAMPLE,
            )
            sure = bool(modules & _STRICT) and head.excludes(len(values))
            severity = Severity.ERROR if sure else Severity.WARNING
    if problem is not None:
        message, hint = problem
        place = entry.source
        yield Finding(f"{NAMES_FILE}: {message}", hint, place, 1, severity, rule="class-names")


def _modules(project: Project, spec: ArchiveSpec, entries: list[Entry]) -> set[str]:
    """Return the modules that the handler leads to, in the archive or installed."""
    own = {entry.name.removesuffix(".py").replace("/", ".") for entry in entries if entry.importer}
    outside = {one.module for one in following(project, spec).unfound}
    return own | outside | {spec.handler}


def _parse(content: bytes) -> tuple[dict[str, Any], _Problem | None]:
    """Return the map of indices, or why it is none that TorchServe takes."""
    try:
        repeated: list[str] = []
        hook = partial(_noting_repeated, repeated)
        values = json.loads(content.decode("utf-8-sig"), object_pairs_hook=hook)
        if repeated:
            return {}, (f"the key {repeated[0]!r:.40} stands there twice", "name each class once")
        if not isinstance(values, dict):
            return {}, ("not a map of indices to names", _EXAMPLE)
        names = values.get("object_type_names")
        if isinstance(names, list):  # a form that TorchServe takes, too
            values = {str(index): name for index, name in enumerate(names)}
        return values, _value_problem(values)
    except RecursionError:
        return {}, ("it is nested too deeply", _EXAMPLE)
    except ValueError as error:
        return {}, (f"not JSON: {error}", _EXAMPLE)


def _noting_repeated(repeated: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Note keys that stand in an object twice, of which JSON takes the last."""
    uses = Counter(key for key, _ in pairs)
    repeated += [key for key, number in uses.items() if number > 1]
    return dict(pairs)


def _value_problem(values: dict[str, Any]) -> _Problem | None:
    if not values:
        return "it names no class", f"{_EXAMPLE}, or leave the file out"
    if all(isinstance(value, int) for value in values.values()):
        return "it maps names to indices", f"turn it around: {_EXAMPLE}"
    for key, value in values.items():
        name = value[-1] if isinstance(value, list) and value else value
        if not isinstance(name, str):
            hint = "write text, or a list whose last part is the name"
            return f"the name of class {key:.40} is {value!r:.80}", hint
        if not name.strip():
            return f"the name of class {key:.40} is empty", "write text"
    return None


def index_problem(values: dict[str, Any]) -> _Problem | None:
    """Return why keys are not the indices of a model's classes, 0 and up without a gap."""
    wrong = next((key for key in values if not _is_index(key)), None)
    if wrong is not None:
        return f"the key {wrong!r:.40} is no class index", _EXAMPLE
    missing = sorted(set(range(len(values))) - set(map(int, values)))
    if missing == [0] and str(len(values)) in values:
        return "it counts from 1, and a model's classes count from 0", "lower each index by 1"
    if missing:
        return f"class {missing[0]} has no name", f'add it: "{missing[0]}": "name"'
    return None


def _is_index(key: str) -> bool:
    return key.isdecimal() and len(key) <= _MOST_DIGITS and str(int(key)) == key


@dataclass(frozen=True)
class _Head:
    """The last layer of the weights, in the order in which the model's class makes its layers."""

    classes: int
    is_convolution: bool
    has_bias: bool
    others: frozenset[int]  # outputs of the other layers, one of which may be the last to run

    def excludes(self, names: int) -> bool:
        """Tell whether the model surely has another number of classes than there are names."""
        if not self.has_bias or self.classes == 1 or names in self.others:
            return False
        # A convolution may be followed by a layer that turns channels into pixels.
        return not (self.is_convolution and self.classes % names == 0)


def _head(project: Project, spec: ArchiveSpec, modules: set[str]) -> _Head | None:
    """Return the last layer of the weights if it is a linear layer or a convolution."""
    if not spec.model_file or not spec.serialized_file:
        return None
    try:
        found = read_model_file(Path(project.root, spec.serialized_file))
    except WeightsError:
        return None
    if not found.tensors or spec.serialized_file.endswith(".safetensors"):
        return None  # that format sorts its tensors by name
    *before, last = [tensor.shape for tensor in found.tensors.values()]
    has_bias = len(last) == 1
    weight = before.pop() if has_bias and before else last
    # A transposed convolution has its outputs second; without a bias it looks like any other.
    outputs = {2: weight[:1], 4: weight[:2]}.get(len(weight), ())
    if not last or last[0] not in outputs:
        return None
    classes = last[0]
    if classes == 1 and "marsmith_handlers.image_segmenter" in modules:
        classes = 2  # one score per pixel tells the object from the background
    others = frozenset(shape[0] for shape in before if shape)
    return _Head(classes, len(weight) == 4, has_bias, others)
