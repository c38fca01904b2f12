"""Tensors in files, without torch. Their values are read when they are needed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.weights.dtypes import DTYPES, NOT_FINITE

_CHUNK = 1 << 24  # bytes; a multiple of the size of every dtype
_REPEATED = 1 << 26  # bytes that a tensor may have beyond eight times its storage


_COPY = "copy the file again"


def damaged() -> WeightsError:
    """Return the error for a file of PyTorch's that is cut off or damaged."""
    hint = "copy the file again, or save the state_dict again"
    return WeightsError("the file is cut off or damaged", hint, code="weights-damaged")


def big_endian() -> WeightsError:
    """Return the error for a file whose values have another byte order."""
    return WeightsError(
        "the values are big-endian",
        "save the file again on a little-endian machine: torch.save(torch.load(FILE), FILE)",
        code="weights-big-endian",
    )


@dataclass(eq=False)
class Storage:
    """A block of values in a file, which several tensors may share."""

    path: Path
    start: int  # in the file; for a legacy file it is only known after the pickle was read
    size: int  # bytes
    crc: int = 0  # 0 means unknown, see torch.serialization.set_crc32_options(False)

    def read(self, start: int, length: int) -> bytes:
        """Return a part of the values. Raises WeightsError if the file is damaged."""
        if not self._is_sound:
            raise WeightsError(
                f"{self.path} is damaged: a checksum is wrong", _COPY, code="weights-damaged"
            )
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
                f"{self.path} cannot be read: {error.strerror}",
                "check that the file still exists and that you may read it",
                code="weights-unreadable",
            ) from error
        if len(data) < length:
            raise WeightsError(f"{self.path} is cut off", _COPY, code="weights-damaged")
        return data


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage: `offset` and `stride` count values, as torch's do.

    Raises ValueError for a view that does not fit into the storage.
    """

    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    offset: int
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or len(self.shape) != len(self.stride):
            raise ValueError("not a tensor")
        if min((self.offset, *self.shape, *self.stride)) < 0:
            raise ValueError("a tensor with negative sizes")
        if self.count and (self._last + 1) * self.itemsize > self.storage.size:
            raise ValueError("a tensor beyond its storage")

    @property
    def count(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """The size of a value in bytes."""
        return DTYPES[self.dtype][1]

    @property
    def nbytes(self) -> int:
        """The size of all its values in bytes."""
        return self.count * self.itemsize

    @property
    def view(self) -> tuple[object, ...]:
        """A key that is equal for two names of the same tensor."""
        return self.storage, self.dtype, self.offset, self.shape, self.stride

    def chunks(self) -> Iterator[bytes]:
        """Yield the values, little-endian, in C order. Raises WeightsError if the file is damaged.

        A tensor that repeats few values too often is refused before memory is allocated for it.
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
                f"a tensor repeats {self.storage.size:,} bytes until they are {self.nbytes:,}",
                "save contiguous tensors: tensor.contiguous()",
                code="weights-repeated-values",
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
        """Return how many of its numbers are NaN or infinite. A complex value is two numbers."""
        if self.dtype not in NOT_FINITE:
            return 0
        import numpy as np

        bits, mask, under = NOT_FINITE[self.dtype]
        return sum(
            int(np.count_nonzero((np.frombuffer(chunk, bits) & mask) == under))
            for chunk in self.chunks()
        )

    def is_mask(self) -> bool:
        """Return whether all values are zero or infinite, as in an attention mask."""
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
