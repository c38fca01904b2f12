"""Networks without memory for their values, and what a file would hold of them."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch

from marsmith.init.architectures import Architecture, Shape, installed_indexes
from marsmith.init.recognise import NOT_COMPARED, Match, matches, without_wrappers
from marsmith.programs.recognise_architecture import built


def torchvision_model(name: str, **arguments: Any) -> Any:
    """Build one of torchvision's models. The import takes seconds: only its tests wait for it."""
    from torchvision import models

    return models.get_model(name, weights=None, **arguments)


def timm_model(name: str, **arguments: Any) -> Any:
    """Build one of timm's models."""
    import timm

    return timm.create_model(name, **arguments)


def network(name: str, **arguments: Any) -> torch.nn.Module:
    """Build one of torchvision's models without memory for its values."""
    return built(partial(torchvision_model, name, **arguments))


def shapes(model: torch.nn.Module, prefix: str = "") -> dict[str, Shape]:
    """Return what a file of the model holds, as read_weights gives it."""
    state = {n: v for n, v in model.state_dict().items() if not n.endswith(NOT_COMPARED)}
    return {without_wrappers(prefix + name): tuple(one.shape) for name, one in state.items()}


@cache
def architectures() -> tuple[Architecture, ...]:
    return tuple(one for index in installed_indexes() for one in index.architectures)


def recognised(found: dict[str, Shape]) -> list[Match]:
    return matches(found, architectures())


def titles(found: dict[str, Shape]) -> list[str]:
    """Name all models that fit."""
    return [model.title for match in recognised(found) for model in match.architecture.models]


def the_one(found: dict[str, Shape], library: str = "torchvision") -> Match:
    """Return the only match in a library."""
    known = [one for one in architectures() if one.models[0].library == library]
    (match,) = matches(found, known)
    return match
