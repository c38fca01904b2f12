"""A plan for a network that the user wrote, with the weights that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from marsmith.core.errors import ProjectError
from marsmith.init.compare_source import can_compare, network_shapes, require_same
from marsmith.init.names import names_for
from marsmith.init.plan import Plan, named_classes
from marsmith.init.read_weights import Weights, read_weights
from marsmith.init.recognise import Shapes, is_beside, prefixes
from marsmith.init.templates import TEMPLATES
from marsmith.weights.state_dict_names import without_prefixes
from marsmith.weights.tensors import Tensor


def plan_for_own_class(
    root: Path,
    name: str,
    model_file: Path,
    weights: Path,
    template: str,
    classes: Sequence[str],
    key: str | None = None,
) -> Plan:
    """Return the plan for a class that the user wrote. Raises ProjectError if it does not fit."""
    names = names_for(name)
    found = read_weights(weights, key)
    kind = TEMPLATES[template]
    whole = model_file.resolve()
    if not whole.is_relative_to(root.resolve()):
        raise ProjectError(
            f"{model_file} is outside {root}",
            f"copy it, and what it imports, to model_defs/ and give --model-file model_defs/"
            f"{model_file.name}",
            code="model-file-outside",
        )
    tensors = _fitting(found, network_shapes(whole)) if can_compare() else _model_alone(found)
    config = {**kind.handler_config}
    place = whole.relative_to(root.resolve()).as_posix()
    if "size" in config:
        config |= {"size": [224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    named = named_classes(kind.task, len(classes), classes)
    unsure = "Not sure: the size and the normalisation are ImageNet's."
    title = f"the network of {place}"
    return Plan(names, kind.task, title, None, tensors, config, named, (unsure,), place)


def _fitting(weights: Weights, wanted: Shapes) -> dict[str, Tensor]:
    """Return the tensors of a network, from under whatever prefix has all of them."""
    shapes = weights.shapes
    has_all = (one for one in prefixes(shapes) if all(one + name in shapes for name in wanted))
    prefix = next(has_all, None)
    if prefix is None:
        tensors = _model_alone(weights)
    else:
        inside = [name for name in weights.tensors if name.startswith(prefix)]
        kept = {name[len(prefix) :]: weights.tensors[name] for name in inside}
        tensors = {name: one for name, one in kept.items() if name in wanted or not is_beside(name)}
    require_same(wanted, {name: one.shape for name, one in tensors.items()})
    return tensors


def _model_alone(weights: Weights) -> dict[str, Tensor]:
    """Return the tensors without usual prefixes, and without what training keeps beside them."""
    model = {name: one for name, one in weights.tensors.items() if not is_beside(name)}
    return without_prefixes(model, others_beside=False)[0]
