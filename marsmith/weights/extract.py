"""Take the state_dict of one model out of a training checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import Checkpoint, read_checkpoint
from marsmith.weights.find_state_dict import choose, conversion, left_behind, listed
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.safetensors import write_safetensors
from marsmith.weights.state_dict_names import (
    without_discriminators,
    without_leftovers,
    without_prefixes,
)
from marsmith.weights.tensors import Tensor
from marsmith.weights.torch_writer import write_torch_zip

_WRITERS = {".pth": write_torch_zip, ".pt": write_torch_zip, ".safetensors": write_safetensors}
_GROWN = 16  # how many times its file's size a state_dict may have, tensors being shared
_SMALL = 1 << 26  # bytes that it may have anyway


@dataclass(frozen=True)
class Extracted:
    """What was written, and what became of the rest."""

    tensors: dict[str, Tensor]
    kept: str  # place of the state_dict in the checkpoint; "" for the whole of it
    prefixes: tuple[str, ...]  # taken off all names
    dropped: tuple[str, ...]  # places in the checkpoint, and names within the state_dict


def extract(path: Path, out: Path, *, key: str | None = None, force: bool = False) -> Extracted:
    """Write the state_dict within `path` to `out`, whose ending says the format.

    `key` is its dotted place where several could be meant. Raises WeightsError; then nothing is
    written, and an `out` that was there is as it was.
    """
    _check_out(out, force)
    checkpoint = read_checkpoint(path)
    _refuse_code(checkpoint)
    place, found = choose(checkpoint, key)
    others = left_behind(checkpoint, place)
    state = {name: one for name, one in found.items() if isinstance(one, Tensor)}
    _refuse_what_would_be_lost(checkpoint, found)
    models = without_discriminators(state)
    kept = without_leftovers(models)
    tensors, prefixes = without_prefixes(kept, others_beside=len(models) < len(state))
    _refuse_endless(path, tensors)
    try:
        with replacing(out) as file:
            _WRITERS[out.suffix](file, tensors)
    except OSError as error:
        raise WeightsError(
            f"{out} cannot be written: {error.strerror}", "make room, or name another file"
        ) from error
    gone = [name for name in found if name not in kept]
    return Extracted(tensors, place, prefixes, (*others, *gone))


def _check_out(out: Path, force: bool) -> None:
    if out.is_dir():
        raise WeightsError(f"{out} is a folder", f"name a file: --out {out / 'state_dict.pth'}")
    if out.suffix not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise WeightsError(f"{out} has none of the endings {known}", "name such a file with --out")
    if out.exists() and not force:
        raise WeightsError(f"{out} exists", "name another file, or overwrite it: --force")


def _refuse_code(checkpoint: Checkpoint) -> None:
    path = checkpoint.path
    if checkpoint.kind == "TorchScript":
        raise WeightsError(
            f"{path} is TorchScript, a program with its weights",
            f"take them out with PyTorch: torch.save(torch.jit.load({str(path)!r}).state_dict(), "
            "'state_dict.pth'); or serve it as it is, without a model_file",
        )
    if checkpoint.hostile:
        raise WeightsError(
            f"{path} names code to be run by whoever loads it: {listed(checkpoint.hostile)}",
            "do not load it, and get the weights from another source",
        )
    if checkpoint.is_module or (isinstance(checkpoint.value, Inert) and not checkpoint.value.items):
        kind = "whole pickled module" if checkpoint.is_module else "pickled object"
        raise WeightsError(
            f"{path} is a {kind} of {checkpoint.value.name}, with its code and not a state_dict",
            conversion(path, ""),
        )


def _refuse_what_would_be_lost(checkpoint: Checkpoint, found: dict[str, Any]) -> None:
    for name, one in found.items():
        if isinstance(one, Inert) and one.name.startswith(
            ("torch._utils._rebuild", "torch._tensor")
        ):
            kind = one.name.rpartition("_rebuild_")[2].replace("_", " ")
            raise WeightsError(
                f"{checkpoint.path}: {name!r} is no plain tensor ({kind})",
                "make it one before saving, such as by tensor.to_dense(), .dequantize(), "
                ".resolve_conj() or .resolve_neg()",
            )


def _refuse_endless(path: Path, tensors: dict[str, Tensor]) -> None:
    distinct = {tensor.view: tensor.nbytes for tensor in tensors.values()}
    if sum(distinct.values()) > _GROWN * path.stat().st_size + _SMALL:
        raise WeightsError(
            f"{path}: its tensors share so few values that the state_dict would have "
            f"{sum(distinct.values()):,} bytes",
            "save them as they are computed: tensor.contiguous()",
        )
