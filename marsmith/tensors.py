"""Tensors in files, without torch: what they are, and their values when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from marsmith.errors import WeightsError

# dtype → (torch's storage class, bytes per value, safetensors' name). Those without a class of
# their own are stored untyped (torch/storage.py).
DTYPES: dict[str, tuple[str | None, int, str]] = {
    "float64": ("DoubleStorage", 8, "F64"),
    "float32": ("FloatStorage", 4, "F32"),
    "float16": ("HalfStorage", 2, "F16"),
    "bfloat16": ("BFloat16Storage", 2, "BF16"),
    "int64": ("LongStorage", 8, "I64"),
    "int32": ("IntStorage", 4, "I32"),
    "int16": ("ShortStorage", 2, "I16"),
    "int8": ("CharStorage", 1, "I8"),
    "uint8": ("ByteStorage", 1, "U8"),
    "bool": ("BoolStorage", 1, "BOOL"),
    "complex64": ("ComplexFloatStorage", 8, "C64"),
    "complex128": ("ComplexDoubleStorage", 16, ""),  # safetensors has none
    "uint16": (None, 2, "U16"),
    "uint32": (None, 4, "U32"),
    "uint64": (None, 8, "U64"),
    "float8_e4m3fn": (None, 1, "F8_E4M3"),
    "float8_e5m2": (None, 1, "F8_E5M2"),
}


@dataclass(frozen=True, eq=False)
class Storage:
    """A block of values in a file, which several tensors may share."""

    size: int  # bytes
    read: Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage: `offset` and `stride` count values, as torch's do."""

    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    offset: int
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes its values take."""
        return self.count * DTYPES[self.dtype][1]

    @property
    def view(self) -> tuple[object, ...]:
        """What two tensors have in common that are one and the same."""
        return self.storage, self.dtype, self.offset, self.shape, self.stride

    def read(self) -> bytes:
        """Return the values, little-endian, in C order. Raises WeightsError if they are not there.

        Nothing is allocated before it is certain that the file holds as much.
        """
        if self.count == 0:
            return b""
        size = DTYPES[self.dtype][1]
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if self.offset < 0 or min(self.stride, default=0) < 0 or (last + 1) * size > _size(self):
            raise WeightsError(
                "a tensor reaches beyond its storage", "copy the file again, or save it again"
            )
        data = self.storage.read()
        if self._is_contiguous():
            return data[self.offset * size : self.offset * size + self.nbytes]
        if self.nbytes > 8 * self.storage.size:
            raise WeightsError(
                "a tensor repeats its few values without end",
                "save it as it is computed: tensor.contiguous()",
            )
        import numpy as np

        values = np.frombuffer(data, np.dtype((np.void, size)))[self.offset :]
        strides = [stride * size for stride in self.stride]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides).tobytes()

    def count_not_finite(self) -> int:
        """Return how many of its values are NaN or infinite."""
        import numpy as np

        data = self.read()
        if self.dtype == "bfloat16":
            values = np.frombuffer(data, "<u2").astype("<u4") << 16
            return int((~np.isfinite(values.view("<f4"))).sum())
        if self.dtype in ("float16", "float32", "float64", "complex64", "complex128"):
            return int((~np.isfinite(np.frombuffer(data, self.dtype))).sum())
        return 0

    def _is_contiguous(self) -> bool:
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


def _size(tensor: Tensor) -> int:
    return tensor.storage.size
