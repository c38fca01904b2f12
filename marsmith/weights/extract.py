"""Take the state_dict of one model out of a training checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import WeightsError
from marsmith.core.suggestions import did_you_mean
from marsmith.weights.checkpoint import Checkpoint, read_checkpoint
from marsmith.weights.find_state_dict import choose, conversion, left_behind, listed
from marsmith.weights.pickle_names import shown
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.safetensors import write_safetensors
from marsmith.weights.state_dict_names import (
    begins,
    has_prefix,
    replace_prefix,
    without_discriminators,
    without_leftovers,
    without_measures,
    without_prefixes,
)
from marsmith.weights.tensors import Tensor
from marsmith.weights.torch_writer import write_torch_zip

_WRITERS = {".pth": write_torch_zip, ".pt": write_torch_zip, ".safetensors": write_safetensors}
# Tensors can share values, so a state_dict may be larger than its file: by this factor at most,
_GROWN = 16
_SMALL = 1 << 26  # bytes that are allowed in any case


@dataclass(frozen=True)
class Extracted:
    """What was written, and what was left out."""

    tensors: dict[str, Tensor]
    kept: str  # path of the state_dict in the checkpoint; "" if it is the whole checkpoint
    prefixes: tuple[str, ...]  # removed from all names
    dropped: tuple[str, ...]  # paths in the checkpoint, and names within the state_dict


def extract(
    path: Path,
    out: Path,
    *,
    keys: Sequence[str] = (),
    prefix: str = "",
    new_prefix: str = "",
    force: bool = False,
) -> Extracted:
    """Write the state_dict in `path` to `out`; the ending of `out` chooses the format.

    `keys` are dotted paths of state_dicts, needed if there are several: of one, its names are
    written; several are joined, each name after its path. Only tensors whose names start with
    `prefix` are written, with `new_prefix` in its place. Raises WeightsError and then leaves `out`
    unchanged.
    """
    _check_out(out, force)
    checkpoint = read_checkpoint(path)
    _refuse_code(checkpoint)
    place, found, others = _chosen(checkpoint, keys)
    state = {name: one for name, one in found.items() if isinstance(one, Tensor)}
    _refuse_what_would_be_lost(checkpoint, found)
    models = without_discriminators(state)
    kept = without_leftovers(without_measures(models))
    tensors, prefixes = without_prefixes(kept, others_beside=len(models) < len(state))
    if prefix or new_prefix:
        given, prefixes = (kept, ()) if has_prefix(kept, prefix) else (tensors, prefixes)
        _require_prefix(path, given, prefix)
        names = [name for name, one in zip(kept, given, strict=True) if begins(one, prefix)]
        kept = {name: kept[name] for name in names}
        tensors = replace_prefix(given, prefix, new_prefix)
    _refuse_repeated_values(path, tensors)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as file:
            _WRITERS[out.suffix](file, tensors)
    except OSError as error:
        raise WeightsError(
            f"{out} cannot be written: {error.strerror}",
            "free disk space, or name another file with --out",
            code="output-unwritable",
        ) from error
    gone = [name for name in found if name not in kept]
    return Extracted(tensors, place, prefixes, (*others, *gone))


def _chosen(checkpoint: Checkpoint, keys: Sequence[str]) -> tuple[str, dict[str, Any], list[str]]:
    """Return the path and the content of the state_dict to write, and what is beside it."""
    if len(keys) < 2:
        place, found = choose(checkpoint, *keys)
        return place, found, left_behind(checkpoint, place)
    chosen = [choose(checkpoint, key) for key in keys]
    beside = [left_behind(checkpoint, place) for place, _ in chosen]
    joined = {f"{place}.{name}": one for place, found in chosen for name, one in found.items()}
    places = dict.fromkeys(place for place, _ in chosen)
    others = dict.fromkeys(one for left in beside for one in left if one not in places)
    return ", ".join(places), joined, list(others)


def _require_prefix(path: Path, state: dict[str, Tensor], prefix: str) -> None:
    if not has_prefix(state, prefix):
        firsts = list(dict.fromkeys(name.partition(".")[0] for name in state))
        raise WeightsError(
            f"{path}: no name starts with {prefix!r}",
            did_you_mean(prefix, map(shown, firsts), f"they start with {listed(firsts)}"),
            code="weights-prefix",
        )


def _check_out(out: Path, force: bool) -> None:
    if out.is_dir():
        hint = f"name a file: --out {out / 'state_dict.pth'}"
        raise WeightsError(f"{out} is a folder", hint, code="output-folder")
    if out.suffix not in _WRITERS:
        known = ", ".join(_WRITERS)
        message = f"{out} has none of the endings {known}"
        hint = f"choose one of them: --out {out.with_suffix('.pth')}"
        raise WeightsError(message, hint, code="output-ending")
    if out.exists() and not force:
        hint = "name another file with --out, or overwrite it: --force"
        raise WeightsError(f"{out} exists already", hint, code="output-exists")


def _refuse_code(checkpoint: Checkpoint) -> None:
    path = checkpoint.path
    if checkpoint.kind == "TorchScript":
        raise WeightsError(
            f"{path} is TorchScript: a program with its weights",
            f"extract them with PyTorch: torch.save(torch.jit.load({str(path)!r}).state_dict(), "
            "'state_dict.pth'); or serve the file itself, without a model_file",
            code="weights-torchscript",
        )
    if checkpoint.hostile:
        raise WeightsError(
            f"{path} runs code when it is loaded: {listed(checkpoint.hostile)}",
            "do not load it; get the weights from another source",
            code="weights-execute",
        )
    if checkpoint.is_module or (isinstance(checkpoint.value, Inert) and not checkpoint.value.items):
        kind = "whole pickled module" if checkpoint.is_module else "pickled object"
        raise WeightsError(
            f"{path} is a {kind} of {checkpoint.value.name}, not a state_dict",
            conversion(path, ""),
            code="weights-module",
        )


def _refuse_what_would_be_lost(checkpoint: Checkpoint, found: dict[str, Any]) -> None:
    for name, one in found.items():
        if isinstance(one, Inert) and one.name.startswith(
            ("torch._utils._rebuild", "torch._tensor")
        ):
            kind = one.name.rpartition("_rebuild_")[2].replace("_", " ")
            raise WeightsError(
                f"{checkpoint.path}: {name!r} is not a plain tensor ({kind})",
                "convert it before saving: tensor.to_dense(), .dequantize(), .resolve_conj() or "
                ".resolve_neg()",
                code="weights-special-tensor",
            )


def _refuse_repeated_values(path: Path, tensors: dict[str, Tensor]) -> None:
    distinct = {tensor.view: tensor.nbytes for tensor in tensors.values()}
    if sum(distinct.values()) > _GROWN * path.stat().st_size + _SMALL:
        raise WeightsError(
            f"{path}: its tensors repeat so few values that the state_dict would have "
            f"{sum(distinct.values()):,} bytes",
            "save contiguous tensors: tensor.contiguous()",
            code="weights-repeated-values",
        )
