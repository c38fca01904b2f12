"""Take the state_dict of one model out of a training checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marsmith.checkpoint import Checkpoint, read_checkpoint
from marsmith.errors import WeightsError
from marsmith.replacing import replacing
from marsmith.state_dict_file import write_safetensors, write_torch_zip
from marsmith.tensors import Tensor

_WRITERS = {".pth": write_torch_zip, ".pt": write_torch_zip, ".safetensors": write_safetensors}
# What training keeps beside the model; its tensors are no model's.
_NOT_A_MODEL = re.compile(r"optim|sched|scaler|rng|history|loss|criterion|callback|loop", re.I)
# The names that GANs give what only trains the generator: netD, D_A, discriminator, …
_DISCRIMINATOR = re.compile(r"(^|[._])(netD|D)(_\w+|\d*)$|discriminator|(^|[._])disc$|critic", re.I)
# Wrappers of torch (DataParallel, torch.compile), which are never a name of the model's own.
_WRAPPERS = ("module.", "_orig_mod.")
# Names under which frameworks hold the model; they may be the model's own too.
_HOLDERS = ("model.", "net.", "network.", "netG.", "generator.")
_NORM_STATS = (".running_mean", ".running_var", ".num_batches_tracked")


@dataclass(frozen=True)
class Extracted:
    """What was written, and what became of the rest."""

    tensors: dict[str, Tensor]
    kept: str  # place of the state_dict in the checkpoint; "" for the whole of it
    prefixes: tuple[str, ...]  # taken off all names
    dropped: tuple[str, ...]  # places in the checkpoint, or names of tensors


def extract(path: Path, out: Path, *, key: str | None = None, force: bool = False) -> Extracted:
    """Write the state_dict within `path` to `out`, whose ending says the format.

    `key` is its dotted place where several could be meant. Raises WeightsError; then nothing is
    written, and an `out` that was there is as it was.
    """
    if out.suffix not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise WeightsError(f"{out} has none of the endings {known}", "name such a file with --out")
    if out.exists() and not force:
        raise WeightsError(f"{out} exists", "name another file, or overwrite it: --force")
    checkpoint = read_checkpoint(path)
    _refuse_code(checkpoint)
    place, state = _chosen(checkpoint, key)
    others = [name for name in _top(checkpoint) if name != place.partition(".")[0]] if place else []
    kept = _without_leftovers(_without_discriminators(state))
    tensors, prefixes = _without_prefixes(kept)
    try:
        with replacing(out) as file:
            _WRITERS[out.suffix](file, tensors)
    except OSError as error:
        raise WeightsError(
            f"{out} cannot be written: {error.strerror}", "make room, or name another file"
        ) from error
    gone = [name for name in state if name not in kept]
    return Extracted(tensors, place, prefixes, (*others, *gone))


def _refuse_code(checkpoint: Checkpoint) -> None:
    path = checkpoint.path
    if checkpoint.kind == "TorchScript":
        raise WeightsError(
            f"{path} is TorchScript, a program with its weights",
            f"take them out with PyTorch: torch.save(torch.jit.load({str(path)!r}).state_dict(), "
            "'state_dict.pth'); or serve it as it is, without a model_file",
        )
    if checkpoint.is_module:
        raise WeightsError(
            f"{path} is a whole pickled module; to load it means to run the code it names: "
            + ", ".join(sorted(checkpoint.foreign)),
            "if you trust it, convert it where its class can be imported: "
            f"torch.save(torch.load({str(path)!r}, weights_only=False).state_dict(), "
            "'state_dict.pth')",
        )


def _top(checkpoint: Checkpoint) -> list[str]:
    return list(map(str, checkpoint.value)) if isinstance(checkpoint.value, dict) else []


def _chosen(checkpoint: Checkpoint, key: str | None) -> tuple[str, dict[str, Tensor]]:
    found = dict(_state_dicts(checkpoint.value, "", 0))
    if key is not None:
        if key not in found:
            raise WeightsError(
                f"{checkpoint.path} holds no state_dict at {key!r}",
                f"it has: {', '.join(map(repr, found)) or 'none at all'}",
            )
        return key, found[key]
    models = {place: one for place, one in found.items() if not _DISCRIMINATOR.search(place)}
    candidates = models or found
    if len(candidates) == 1:
        return next(iter(candidates.items()))
    if not candidates:
        raise WeightsError(
            f"{checkpoint.path} holds no state_dict",
            "look at what it holds: marsmith weights inspect FILE",
        )
    raise WeightsError(
        f"{checkpoint.path} holds several state_dicts: {', '.join(candidates)}",
        f"choose one: --key {next(iter(candidates))}",
    )


def _state_dicts(value: Any, place: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the dicts of named tensors in a checkpoint with their dotted places."""
    if not isinstance(value, dict) or depth > 3:
        return
    tensors = {str(name): one for name, one in value.items() if isinstance(one, Tensor)}
    # A state_dict names layers; a stray tensor beside the epoch is none.
    if tensors and (len(tensors) * 2 > len(value) or any("." in name for name in tensors)):
        yield place, tensors
        return
    for name, one in value.items():
        if isinstance(name, str) and not _NOT_A_MODEL.search(name):
            yield from _state_dicts(one, f"{place}.{name}" if place else name, depth + 1)


def _without_discriminators(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the networks that only train the others, where one state_dict holds them all."""
    kept = {name: one for name, one in state.items() if not _of_discriminator(name)}
    return kept or state


def _of_discriminator(name: str) -> bool:
    return bool(_DISCRIMINATOR.search(name.partition(".")[0])) and "." in name


def _without_leftovers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the statistics that PyTorch before 0.4 stored for instance norm: they have no weight."""
    kept = {}
    for name, tensor in state.items():
        layer = next((name.removesuffix(end) for end in _NORM_STATS if name.endswith(end)), None)
        if layer is None or f"{layer}.weight" in state:
            kept[name] = tensor
    return kept


def _without_prefixes(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take off what wrappers and frameworks put before all names, as often as they did."""
    prefixes = []
    while prefix := next((one for one in (*_WRAPPERS, *_HOLDERS) if _is_prefix(one, state)), None):
        state = {name.removeprefix(prefix): one for name, one in state.items()}
        prefixes.append(prefix)
    return state, tuple(prefixes)


def _is_prefix(prefix: str, state: dict[str, Tensor]) -> bool:
    """Tell whether all names begin so, and names are left without it: `1.weight` is half of one."""
    if not state or not all(name.startswith(prefix) for name in state):
        return False
    firsts = {name.removeprefix(prefix).partition(".")[0] for name in state}
    return prefix in _WRAPPERS or not any(first.isdigit() for first in firsts)
