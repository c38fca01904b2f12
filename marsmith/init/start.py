"""From a file of weights, or a template, to the plan of a project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.init.architectures import Architecture, Index, Model, installed_indexes
from marsmith.init.compare_source import (
    can_compare,
    require_fit,
)
from marsmith.init.names import names_for
from marsmith.init.nearest import Near, nearest
from marsmith.init.plan import Plan, plan_for_match, plan_for_template, told_apart
from marsmith.init.read_weights import Weights, read_weights
from marsmith.init.recognise import Match, matches
from marsmith.init.templates import TEMPLATES, random_tensors

_LEAST = 0.3  # of tensors alike, to be worth naming
_SHOWN = 3  # differences


@dataclass(frozen=True)
class Recognised:
    """The models that a file's tensors fit, the most likely first."""

    weights: Weights
    fits: tuple[tuple[Match, Model], ...]
    categories: dict[str, list[str]]  # by task, of torchvision's own weights

    @property
    def outputs(self) -> int:
        """How many classes the model tells apart."""
        return self.fits[0][0].outputs

    @property
    def task(self) -> str:
        """What the model is for."""
        return self.fits[0][0].task

    @property
    def told_apart(self) -> str:
        """What the answers tell, for people."""
        return told_apart(self.fits[0][0])

    def known_classes(self) -> tuple[str, ...]:
        """Return the names that the checkpoint has, or that models of this size usually have."""
        if len(self.weights.classes) == self.outputs:
            return self.weights.classes
        usual = self.categories.get(self.task, [])
        return tuple(usual) if len(usual) == self.outputs else ()

    def plan(self, name: str, choice: int, classes: Sequence[str]) -> Plan:
        """Return the plan with one of the models. Raises ProjectError for too few names."""
        match, model = self.fits[choice]
        others = [other for _, other in self.fits if other is not model]
        tensors = self.weights.tensors
        plan = plan_for_match(names_for(name), match, model, others, tensors, classes)
        if classes and list(classes) == self.categories.get(self.task):
            usual = f"The class names are those that torchvision has for {len(classes)} classes."
            return replace(plan, notes=(*plan.notes, usual))
        return plan


def prove(plan: Plan) -> None:
    """Build the network of a plan, if torch is there. Raises ProjectError if it does not fit."""
    if can_compare() and plan.model_text is not None:
        require_fit(plan.model_text, plan.tensors)


def recognise(path: Path, key: str | None = None) -> Recognised:
    """Find the models that a file of weights fits.

    Raises WeightsError if it cannot be read, or fits none that is known.
    """
    weights = read_weights(path, key)
    indexes = list(installed_indexes())
    known = [one for index in indexes for one in index.architectures]
    found = matches(weights.shapes, known)
    if not found:
        raise _unknown(weights, known)
    fits = [(match, model) for match in found for model in match.architecture.models]
    # What the checkpoint itself names comes first; else torchvision, and the plainest name.
    fits.sort(
        key=lambda fit: (
            fit[1].name != weights.architecture,
            fit[1].library == "timm",
            len(fit[1].name),
        )
    )
    return Recognised(weights, tuple(fits), _categories(indexes))


def _categories(indexes: Sequence[Index]) -> dict[str, list[str]]:
    return {task: names for index in indexes for task, names in index.categories.items()}


def _unknown(weights: Weights, known: Sequence[Architecture]) -> WeightsError:
    shapes = weights.shapes
    near = [one for one in nearest(shapes, known) if one.share >= _LEAST]
    hint = (
        "give its class: --model-file FILE.py; or begin with --template and put your network "
        "into its model file"
    )
    if not near:
        return WeightsError(
            f"{weights.path}: its {len(shapes)} tensors are of no known architecture",
            hint,
            code="architecture-unknown",
        )
    return WeightsError(
        f"{weights.path}: its tensors are of no known architecture; closest: "
        + "; ".join(map(_described, near)),
        hint,
        code="architecture-unknown",
    )


def _described(near: Near) -> str:
    model = near.architecture.models[0]
    text = f"{model.title} ({near.share:.0%} alike"
    shown = ", ".join(near.differences[:_SHOWN])
    more = ", …" if len(near.differences) > _SHOWN else ""
    return text + (f": {shown}{more})" if shown else ")")


@contextmanager
def template_plan(name: str, template: str, classes: Sequence[str] = ()) -> Iterator[Plan]:
    """Give the plan for a template, while its random weights are there. Raises ProjectError."""
    kind = TEMPLATES[template].with_classes(classes)
    with random_tensors(kind) as tensors:
        yield plan_for_template(names_for(name), kind, tensors)
