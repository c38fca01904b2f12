"""Tensors in files, without torch: what they are, and their values when somebody asks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.weights.dtypes import DTYPES, NOT_FINITE

_CHUNK = 1 << 24  # bytes; whole numbers of every dtype
_REPEATED = 1 << 26  # bytes that a tensor may have beyond eight times its storage's


@dataclass(eq=False)
class Storage:
    """A block of values in a file, which several tensors may share."""

    path: Path
    start: int  # in the file; of a legacy file it is known only after the pickle is read
    size: int  # bytes
    crc: int = 0  # 0: unknown, as torch.serialization.set_crc32_options(False) has it

    def read(self, start: int, length: int) -> bytes:
        """Return a part of the values. Raises WeightsError if they are not there."""
        if not self._is_sound:
            raise WeightsError(f"{self.path} is damaged: a checksum is wrong", "copy it again")
        return self._read(start, length)

    @cached_property
    def _is_sound(self) -> bool:
        crc = 0
        for start in range(0, self.size if self.crc else 0, _CHUNK):
            crc = zlib.crc32(self._read(start, min(_CHUNK, self.size - start)), crc)
        return crc == self.crc

    def _read(self, start: int, length: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + start)
                data = file.read(length)
        except OSError as error:
            raise WeightsError(
                f"{self.path} cannot be read: {error.strerror}", "see that it stays there"
            ) from error
        if len(data) < length:
            raise WeightsError(f"{self.path} is cut off", "copy it again")
        return data


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage: `offset` and `stride` count values, as torch's do.

    Raises ValueError for a view that the storage does not hold.
    """

    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    offset: int
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or len(self.shape) != len(self.stride):
            raise ValueError("no tensor")
        if min((self.offset, *self.shape, *self.stride)) < 0:
            raise ValueError("a tensor with negative sizes")
        if self.count and (self._last + 1) * self.itemsize > self.storage.size:
            raise ValueError("a tensor beyond its storage")

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """How many bytes a value takes."""
        return DTYPES[self.dtype][1]

    @property
    def nbytes(self) -> int:
        """How many bytes its values take."""
        return self.count * self.itemsize

    @property
    def view(self) -> tuple[object, ...]:
        """What two tensors have in common that are one and the same."""
        return self.storage, self.dtype, self.offset, self.shape, self.stride

    def chunks(self) -> Iterator[bytes]:
        """Yield the values, little-endian, in C order. Raises WeightsError if they are not there.

        A tensor of few values that repeats them to no end is refused before anything is allocated.
        """
        first = self.offset * self.itemsize
        if self.count == 0:
            return
        if self._is_contiguous():
            for start in range(0, self.nbytes, _CHUNK):
                yield self.storage.read(first + start, min(_CHUNK, self.nbytes - start))
            return
        if self.nbytes > 8 * self.storage.size + _REPEATED:
            raise WeightsError(
                "a tensor repeats its few values without end",
                "save it as it is computed: tensor.contiguous()",
            )
        import numpy as np

        data = self.storage.read(first, (self._last + 1) * self.itemsize - first)
        values = np.frombuffer(data, np.dtype((np.void, self.itemsize)))
        strides = [stride * self.itemsize for stride in self.stride]
        yield np.lib.stride_tricks.as_strided(values, self.shape, strides).tobytes()

    def read(self) -> bytes:
        """Return all values at once."""
        return b"".join(self.chunks())

    def count_not_finite(self) -> int:
        """Return how many of its numbers are NaN or infinite; a complex value has two numbers."""
        if self.dtype not in NOT_FINITE:
            return 0
        import numpy as np

        bits, mask, under = NOT_FINITE[self.dtype]
        return sum(
            int(np.count_nonzero((np.frombuffer(chunk, bits) & mask) == under))
            for chunk in self.chunks()
        )

    def is_mask(self) -> bool:
        """Whether its values are zeros and infinities alone, as those of an attention's mask."""
        if self.dtype not in ("float64", "float32", "float16", "bfloat16"):
            return False
        import numpy as np

        bits, infinity, _ = NOT_FINITE[self.dtype]
        sign = np.dtype(bits).type(1 << (8 * self.itemsize - 1))
        found = (np.frombuffer(chunk, bits) & ~sign for chunk in self.chunks())
        return all(bool(np.isin(values, (0, infinity)).all()) for values in found)

    @property
    def _last(self) -> int:
        steps = zip(self.shape, self.stride, strict=True)
        return self.offset + sum((size - 1) * stride for size, stride in steps)

    def _is_contiguous(self) -> bool:
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of values in C order."""
    return tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
