"""Find the state_dict to use in a training checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marsmith.core.errors import WeightsError
from marsmith.core.suggestions import did_you_mean
from marsmith.weights.checkpoint import (
    SAVE_STATE_DICT,
    Checkpoint,
    is_module,
    parts_of,
    text_of,
)
from marsmith.weights.pickle_names import shown
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.state_dict_names import is_discriminator, is_training_state
from marsmith.weights.tensors import Tensor

_DEEPEST = 3  # levels of dicts above a state_dict
_SHOWN = 6  # parts of a training checkpoint
_MOST = 1_000_000  # values that are visited
_OPTIMIZER = {"state", "param_groups"}  # the parts of its state_dict


def training_checkpoint(checkpoint: Checkpoint) -> str:
    """Say that a file is a training checkpoint, and by which parts; "" if it is none."""
    parts = parts_of(checkpoint.value)
    beside = [key for key, one in parts if is_training_state(key) and not isinstance(one, Tensor)]
    if not beside:
        return ""
    named = ", ".join(map(shown, beside[:_SHOWN]))
    return f"a training checkpoint: beside the model it holds {named}"


def left_behind(checkpoint: Checkpoint, place: str) -> list[str]:
    """Return the paths of everything beside the state_dict at `place`."""
    left, value, done = [], checkpoint.value, ""
    while place != done:
        parts = dict(parts_of(value))
        rest = place[len(done) :].removeprefix(".")
        taken = max((one for one in parts if f"{rest}.".startswith(f"{one}.")), key=len)
        prefix = f"{done}." if done else ""
        left += [prefix + one for one in parts if one != taken]
        value, done = parts[taken], prefix + taken
    return left


def choose(checkpoint: Checkpoint, key: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the path and the content of the state_dict to use. Raises WeightsError.

    `key` is its path, needed if there are several.
    """
    path = checkpoint.path
    if key is not None:
        everything = dict(_state_dicts(checkpoint.value, training_too=True))
        if key not in everything:
            raise WeightsError(
                f"{path} holds no state_dict at {key!r}",
                did_you_mean(key, map(shown, everything), f"it has: {listed(everything)}")
                if everything
                else f"see what it holds: marsmith weights inspect {path}",
                code="weights-key",
            )
        return key, everything[key]
    parts = dict(parts_of(checkpoint.value))
    found = dict(_state_dicts(checkpoint.value))
    models = {place: one for place, one in found.items() if not is_discriminator(place)}
    candidates = models or found
    if set(parts) >= _OPTIMIZER:
        raise WeightsError(
            f"{path} holds the state of an optimizer, and no model",
            "name the file that the training saved the model to",
            code="weights-no-state-dict",
        )
    if len(candidates) == 1:
        return next(iter(candidates.items()))
    if candidates:
        first, second = map(shown, list(candidates)[:2])
        hint = f"choose one, for example --key {first}"
        if not any("ema" in place for place in candidates):  # the same model, averaged
            hint += "; or join parts of one model, whose names then begin with their places: "
            hint += f"--key {first} --key {second}"
        raise WeightsError(
            f"{path} holds several state_dicts: {listed(candidates)}",
            hint,
            code="weights-ambiguous",
        )
    for name, part in parts.items():
        if is_module(part):
            raise WeightsError(
                f"{path} holds a whole pickled module of {part.name} at {name!r}, not its "
                "state_dict",
                conversion(path, f"[{name!r}]"),
                code="weights-module",
            )
    if any(isinstance(part, Tensor) for part in _unnamed(checkpoint.value)):
        raise WeightsError(
            f"{path} holds a list of tensors, without the names that a state_dict has",
            "name them as the model does, in its order: torch.save(dict(zip(model.state_dict(), "
            f"torch.load({str(path)!r}))), 'state_dict.pth')",
            code="weights-no-state-dict",
        )
    raise WeightsError(
        f"{path} holds no state_dict",
        f"see what it holds: marsmith weights inspect {path}",
        code="weights-no-state-dict",
    )


def _unnamed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _state_dicts(value: Any, *, training_too: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the dicts of named tensors in a checkpoint with their dotted paths."""
    left = _MOST
    waiting = [("", value, 0)]
    while waiting:
        place, one, depth = waiting.pop()
        if isinstance(one, Inert):
            one = one.items
        if not isinstance(one, dict) or depth > _DEEPEST:
            continue
        left -= len(one)
        if left < 0:
            raise WeightsError(
                f"the file holds more than {_MOST:,} values",
                SAVE_STATE_DICT,
                code="weights-too-many-values",
            )
        parts = {text_of(name): part for name, part in one.items()}
        tensors = [name for name, part in parts.items() if isinstance(part, Tensor)]
        # Names of layers have dots; a single tensor beside an epoch is not a state_dict.
        if tensors and (len(tensors) * 2 > len(parts) or any("." in name for name in tensors)):
            yield place, parts
            continue
        waiting += reversed(
            [
                (f"{place}.{name}" if place else name, part, depth + 1)
                for name, part in parts.items()
                if training_too or not is_training_state(name)
            ]
        )


def conversion(path: Path, subscript: str) -> str:
    """Return a hint with the code that converts a pickled module into its state_dict."""
    return (
        "if you trust it, since this runs its code: in an environment that has the model's "
        f"class, torch.save(torch.load({str(path)!r}, map_location='cpu', "
        f"weights_only=False){subscript}.state_dict(), 'state_dict.pth')"
    )


def listed(names: Any) -> str:
    """Return names from a file in one line, without characters that control a terminal."""
    more = len(names) - 20
    return ", ".join(map(shown, list(names)[:20])) + (f", and {more} more" if more > 0 else "")
