"""A first layer that somebody put in place of the usual one, such as for grey pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from marsmith.init.architectures import Architecture, Shape

Shapes = Mapping[str, Shape]

COLOURS = 3  # channels that all known architectures take


@dataclass(frozen=True)
class Stem:
    """The convolution at `place`, by the shapes of its weight here and in the architecture."""

    place: str
    shape: Shape
    usual: Shape

    @property
    def channels(self) -> int:
        """How many channels a picture has."""
        return self.shape[1]

    @property
    def same_kernel(self) -> bool:
        """Whether only the count of channels differs."""
        return self.shape[2:] == self.usual[2:]

    def expression(self, usual: str, *, bias: bool) -> str:
        """Return the code of the layer; `usual` is code for the architecture's own."""
        out, channels, side, _ = self.shape
        ending = "" if bias else ", bias=False"
        if self.same_kernel:
            return (
                f"nn.Conv2d({channels}, {out}, {usual}.kernel_size, {usual}.stride, "
                f"{usual}.padding{ending})"
            )
        # Patches lie side by side; what is odd has a middle.
        step = f"stride={side}" if side % 2 == 0 else f"padding={side // 2}"
        return f"nn.Conv2d({channels}, {out}, {side}, {step}{ending})"


def with_stem_of(inside: Shapes, one: Architecture) -> tuple[Stem | None, Architecture]:
    """Return how a file's first layer differs, and the architecture with the file's own.

    It differs by its channels or by the side of its kernel. Else there is no Stem.
    """
    name = next((n for n, shape in one.tensors.items() if _takes_colours(shape)), "")
    usual, given = one.tensors.get(name, ()), inside.get(name, ())
    if given == usual or len(given) != len(usual) or given[0] != usual[0]:
        return None, one
    if given[2] != given[3] or given[1] < 1:
        return None, one
    stem = Stem(name.removesuffix(".weight"), given, usual)
    return stem, replace(one, tensors={**one.tensors, name: given})


def _takes_colours(shape: Shape) -> bool:
    return len(shape) == 4 and shape[1] == COLOURS
