"""What names in checkpoints mean: wrappers, discriminators, training state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")

# State that training keeps beside the model.
_TRAINING_STATE = re.compile(r"optim|sched|scaler|rng|history|loss|criterion|callback|loop", re.I)
# Names of the networks that only train a GAN's generator: netD, D_A, optional_discriminator, …
_DISCRIMINATOR = re.compile(
    r"(^|[._])(netD|net_d|D)(\d*|_\w+)$|(^|[._])(?i:disc|\w*discriminator\w*|critic)(\d*|_\w+)$"
)
# Wrappers of torch (DataParallel, torch.compile); models themselves hardly use these names.
_WRAPPERS = ("module.", "_orig_mod.")
_COMPILED = "_orig_mod."
# Names under which frameworks and GANs hold a model; models themselves may use them too.
_HOLDER = "model."
_GENERATORS = ("netG.", "generator.", "G.", "net_g.")
_NORM_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
# Names under which training code (Lightning, SWA) holds the model beside its losses and metrics.
_HOLDERS = ("module", "_orig_mod", "model", "net", "network")
_MEASURES = re.compile(
    r"loss|criteri|metric|acc(uracy)?(_|\.|$)|auroc|f1|precision|recall|confmat|conf_mat|iou|dice"
    r"|lpips|(^|_)(map|psnr|ssim|fid)$|n_averaged|weight_ema",
    re.IGNORECASE,
)
# What only a checkpoint has at its top, beside the state_dict or what holds it.
_OF_CHECKPOINTS = re.compile(
    r"^(epochs?|(global_)?step|iter(ation)?|(model_)?state_dict|model_state|pytorch-lightning_version"
    r"|best_\w+)$"
)


def is_training_state(name: str) -> bool:
    """Return whether a name in a checkpoint is of training state, such as an optimizer."""
    return _TRAINING_STATE.search(name) is not None


def is_training_checkpoint(names: Iterable[str]) -> bool:
    """Return whether the names at the top of a file are those of a training checkpoint."""
    tops = [name for name in names if "." not in name]
    return any(_OF_CHECKPOINTS.search(top) or is_training_state(top) for top in tops)


def is_measure(name: str) -> bool:
    """Return whether a part of a state_dict is a loss, a metric or a counter of the training."""
    return _MEASURES.search(name) is not None


def is_statistic(name: str) -> bool:
    """Return whether a tensor is a statistic of a normalising layer, which is not learnt."""
    return f".{name}".endswith(_NORM_STATISTICS)


def is_discriminator(place: str) -> bool:
    """Return whether a path in a checkpoint is of a network that only trains another."""
    return any(_DISCRIMINATOR.search(part) for part in place.split("."))


def without_discriminators(state: Mapping[str, Value]) -> dict[str, Value]:
    """Drop discriminators from a state_dict that holds several networks."""
    kept = {name: one for name, one in state.items() if not _is_of_discriminator(name)}
    return kept or dict(state)


def _is_of_discriminator(name: str) -> bool:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    network, dot, _ = name.partition(".")
    return bool(dot) and is_discriminator(network)


def without_measures(state: Mapping[str, Value]) -> dict[str, Value]:
    """Drop losses, metrics and counters that training keeps beside the model it holds."""
    tops = {name.partition(".")[0] for name in state}
    beside = set(filter(is_measure, tops))
    if not (tops - beside) <= set(_HOLDERS) or beside == tops:
        return dict(state)  # the model is not held, so they may be its own parts
    return {name: one for name, one in state.items() if name.partition(".")[0] not in beside}


def replace_prefix(state: Mapping[str, Value], old: str, new: str) -> dict[str, Value]:
    """Return what has the prefix `old`, with `new` in its place; prefixes end with a dot."""
    old, new = dotted(old), dotted(new)
    return {new + n.removeprefix(old): one for n, one in state.items() if n.startswith(old)}


def has_prefix(state: Mapping[str, object], prefix: str) -> bool:
    """Return whether any name has a prefix."""
    return any(begins(name, prefix) for name in state)


def begins(name: str, prefix: str) -> bool:
    """Return whether a name has a prefix; `network.weight` does not have `net`."""
    return name.startswith(dotted(prefix))


def dotted(prefix: str) -> str:
    """Return a prefix with its dot; `net` means `net.`."""
    return f"{prefix.removesuffix('.')}." if prefix else ""


def without_leftovers(state: Mapping[str, Value]) -> dict[str, Value]:
    """Drop the statistics that PyTorch before 0.4 stored for instance norm, which has no weight."""
    kept = {}
    for name, value in state.items():
        layer = next(
            (name.removesuffix(end) for end in _NORM_STATISTICS if name.endswith(end)), None
        )
        if layer is None or f"{layer}.weight" in state:
            kept[name] = value
    return kept


def without_prefixes(
    state: Mapping[str, Value], *, others_beside: bool
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Remove the prefixes that wrappers and frameworks put before all names.

    A generator's prefix is removed only if there were other networks beside it; otherwise it may
    be the model's own name.
    """
    left = dict(state)
    prefixes = []
    known = (*_WRAPPERS, _HOLDER, *(_GENERATORS if others_beside else ()))
    while prefix := next((one for one in known if _is_prefix(one, left)), None):
        left = {name.removeprefix(prefix): value for name, value in left.items()}
        prefixes.append(prefix)
    if any(f".{_COMPILED}" in name for name in left):  # parts of the model were compiled
        left = {name.replace(f".{_COMPILED}", "."): value for name, value in left.items()}
        prefixes.append(f"….{_COMPILED}")
    return left, tuple(prefixes)


def _is_prefix(prefix: str, state: Mapping[str, object]) -> bool:
    """Return whether all names have the prefix, and proper names are left without it.

    `1.weight` is not one: then the prefix is the name of a Sequential.
    """
    if not state or not all(name.startswith(prefix) for name in state):
        return False
    firsts = {name.removeprefix(prefix).partition(".")[0] for name in state}
    return prefix in _WRAPPERS or not any(first.isdigit() for first in firsts)
