"""Which architecture a state_dict is of, by the names and shapes of its tensors alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from marsmith.init.architectures import Architecture, HeadTensor, Shape
from marsmith.init.changed_stem import Stem, with_stem_of
from marsmith.init.replaced_head import Head, read_head, without_head
from marsmith.weights.state_dict_names import is_measure, is_training_state

Shapes = Mapping[str, Shape]

EMBEDDING = "embedding"
NOT_COMPARED = "num_batches_tracked"  # frozen layers, and files of old, have none
_DEEPEST = 4  # wrappers around a model
_SHARE = 0.25  # of a file's tensors that a model has at least
# What wrappers put among names, wherever they stand (DataParallel, torch.compile, FSDP).
_WRAPPERS = re.compile(r"(^|\.)(?:module|_orig_mod|_fsdp_wrapped_module)(?=\.)")
_COPY = re.compile(r"ema|average|swa|teacher|momentum|shadow", re.I)


@dataclass(frozen=True)
class Match:
    """An architecture that a file's tensors fit, and what is around it in the file."""

    architecture: Architecture
    prefix: str  # before the names of its tensors in the file, as without_wrappers() has them
    classes: int | None  # that its builder is given; None: as many as it has by itself
    outputs: int  # classes that the model tells apart
    head_place: str = ""  # of a head that is not the architecture's own
    head: Head | None = None
    stem: Stem | None = None  # of a first layer that is not the architecture's own

    @property
    def task(self) -> str:
        """What the model is for: without a head it turns pictures into vectors."""
        return EMBEDDING if self.head and self.head.is_none else self.architecture.task


Matcher = Callable[[Shapes, Architecture, str], Match | None]


def without_wrappers(name: str) -> str:
    """Take what wrappers add out of a tensor's name."""
    return _WRAPPERS.sub("", name).lstrip(".")


def matches(shapes: Shapes, architectures: Iterable[Architecture]) -> list[Match]:
    """Return every architecture that has exactly these tensors, under any prefix.

    If there is none: every one of which only the first layer differs, or the head is missing.
    """
    known = list(architectures)
    found = _matches(shapes, known, _match) or _matches(shapes, known, _match_changed)
    # A copy of the model, such as a moving average, is the same model: take the one that is none.
    first = min((one.prefix for one in found), key=_copy_last, default="")
    return [one for one in found if one.prefix == first]


def _matches(shapes: Shapes, known: list[Architecture], match: Matcher) -> list[Match]:
    found = []
    for prefix in prefixes(shapes):
        inside = under(shapes, prefix)
        own = [fit for one in known if (fit := match(inside, one, prefix))]
        if own and not strangers(shapes, prefix):
            found += own
    return found


def _copy_last(prefix: str) -> tuple[bool, int]:
    return bool(_COPY.search(prefix)), len(prefix)


def prefixes(shapes: Shapes) -> list[str]:
    """Return the prefixes that a fair share of the names have, the empty one first."""
    counts: Counter[str] = Counter()
    for name in shapes:
        parts = name.split(".")
        counts.update(
            ".".join(parts[:n]) + "." for n in range(1, min(_DEEPEST, len(parts) - 1) + 1)
        )
    least = max(1, _SHARE * len(shapes))
    return ["", *(prefix for prefix, count in counts.items() if count >= least)]


def under(shapes: Shapes, prefix: str) -> dict[str, Shape]:
    """Return the tensors with this prefix, by the rest of their names."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def strangers(shapes: Shapes, prefix: str) -> list[str]:
    """Return the tensors beside a model that are neither training's nor a copy of it."""
    if not prefix:
        return []
    inside = under(shapes, prefix)
    outside = [name for name in shapes if not name.startswith(prefix) and not is_beside(name)]
    first = {name.partition(".")[0] for name in outside}
    copies = [f"{one}." for one in first if under(shapes, f"{one}.") == inside]
    return [name for name in outside if not name.startswith(tuple(copies) or "\0")]


def is_beside(name: str) -> bool:
    """Tell what training keeps beside a model by its name: a criterion, a metric, a counter."""
    first = name.partition(".")[0]
    return is_measure(first) or is_training_state(first)


def _match(inside: Shapes, one: Architecture, prefix: str) -> Match | None:
    body = one.tensors
    stem = next(iter(body))
    if inside.get(stem) != body[stem]:
        return None  # as most are; what follows takes longer
    if body.items() <= inside.items():
        rest = {n: s for n, s in inside.items() if n not in body and not is_beside(n)}
        classes = _classes(rest, one.heads)
        if classes is not None and len(rest) == len(one.heads):
            return Match(one, prefix, classes, classes)
    return _match_with_other_head(inside, one, prefix)


def _match_changed(inside: Shapes, one: Architecture, prefix: str) -> Match | None:
    if one.task == "detection":
        return None  # its own first step takes three channels
    stem, changed = with_stem_of(inside, one)
    match = _match(inside, changed, prefix) if stem else None
    match = match or _match_without_head(inside, changed, prefix)
    return match and replace(match, stem=stem)


def _match_without_head(inside: Shapes, one: Architecture, prefix: str) -> Match | None:
    if one.task != "classification":
        return None
    kept = {name: shape for name, shape in inside.items() if not is_beside(name)}
    main = _main_head(one)
    for place in _places(one, main):
        start = f"{place}."
        if kept == {n: s for n, s in one.tensors.items() if not n.startswith(start)}:
            head = without_head(_inputs(one, start))
            return Match(one, prefix, None, head.outputs, place, head)
    return None


def _classes(rest: Shapes, heads: Mapping[str, HeadTensor]) -> int | None:
    """Return the count of classes that all tensors of a head agree on."""
    counts = {head.classes(rest[name]) if name in rest else None for name, head in heads.items()}
    return counts.pop() if len(counts) == 1 else None


def _match_with_other_head(inside: Shapes, one: Architecture, prefix: str) -> Match | None:
    """Match everything but the head, which the file's tensors themselves must tell."""
    if one.task == "detection":
        return None
    main = _main_head(one)
    for place in _places(one, main):
        start = f"{place}."
        body = {n: s for n, s in one.tensors.items() if not n.startswith(start)}
        if not body.items() <= inside.items():
            continue
        others = {n: head for n, head in one.heads.items() if not n.startswith(start)}
        rest = {n: s for n, s in inside.items() if n not in body and not is_beside(n)}
        own = under(rest, start)
        if own == under(one.tensors, start):
            continue  # its own layers, without the last one: no other head
        classes = _classes(rest, others)
        if not own or len(own) + len(others) < len(rest) or (others and classes is None):
            continue
        head = read_head(own)
        if head and head.inputs == _inputs(one, start):
            return Match(one, prefix, classes, head.outputs, place, head)
    return None


def _main_head(one: Architecture) -> str:
    """Return the place of the layer that gives the answer; auxiliary ones are not meant."""
    layers = [name.rpartition(".")[0] for name in one.heads]
    return next((name for name in layers if not name.lower().startswith("aux")), layers[-1])


def _places(one: Architecture, main: str) -> Iterator[str]:
    """Yield where somebody can have put another head: the layer, and all of the classifier."""
    yield main
    root = main.partition(".")[0]
    # A classifier that pools or normalises gets no plain vector: then its layers must be there.
    names = [n for n in (*one.tensors, *one.heads) if n.startswith(f"{root}.")]
    dense = all(len(_shape(one, n)) == 2 for n in names if n.endswith(".weight"))
    if root != main and dense and one.models[0].library == "torchvision":
        yield root


def _shape(one: Architecture, name: str) -> Shape:
    return (0, *one.heads[name].rest) if name in one.heads else one.tensors[name]


def _inputs(one: Architecture, start: str) -> int:
    """Return the width of what goes into the head at a place."""
    names = [n for n in (*one.tensors, *one.heads) if n.startswith(start)]
    first = next(n for n in names if n.endswith("weight"))
    return _shape(one, first)[1]
