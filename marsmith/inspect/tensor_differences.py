"""Compare the tensors of two files value by value, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marsmith.weights.tensors import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

# dtype → NumPy's dtype of the values in the file.
_NUMPY = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "u1",
    "complex64": "<c8",
    "complex128": "<c16",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
}
# dtype → its bits, and the bits, shift and dtype of the longer type with the same first bits.
_SHORTENED = {
    "bfloat16": ("<u2", "<u4", 16, "<f4"),
    "float8_e5m2": ("u1", "<u2", 8, "<f2"),
}


@dataclass(frozen=True)
class TensorDifference:
    """How a tensor differs: its kind is `missing`, `added`, `shape`, `dtype` or `values`.

    `count` values differ. `not_finite` of them are NaN or infinite on one side; the others differ
    by at most `largest`, which is None if nothing could be measured.
    """

    name: str
    kind: str
    before: str
    after: str
    count: int = 0
    largest: float | None = None
    not_finite: int = 0


def tensor_differences(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor]
) -> list[TensorDifference]:
    """Return the tensors that differ; those of the second file alone last. Raises WeightsError."""
    names = [*first, *(name for name in second if name not in first)]
    found = (_difference(name, first.get(name), second.get(name)) for name in names)
    return [one for one in found if one]


def _difference(name: str, first: Tensor | None, second: Tensor | None) -> TensorDifference | None:
    if first is None or second is None:
        kind = "missing" if second is None else "added"
        return TensorDifference(name, kind, _text(first), _text(second))
    if first.shape != second.shape:
        return TensorDifference(name, "shape", _text(first), _text(second))
    count, largest, not_finite = _measure(first, second)
    kind = "values" if first.dtype == second.dtype else "dtype"
    if kind == "values" and count == 0:
        return None
    return TensorDifference(name, kind, _text(first), _text(second), count, largest, not_finite)


def _text(tensor: Tensor | None) -> str:
    if tensor is None:
        return ""
    return f"{tensor.dtype} {' x '.join(map(str, tensor.shape)) or 'scalar'}"


def _measure(first: Tensor, second: Tensor) -> tuple[int, float | None, int]:
    """Return how many values differ, the largest difference, how many of them are not finite."""
    import numpy as np

    known = {*_NUMPY, *_SHORTENED}
    if not {first.dtype, second.dtype} <= known:
        return _count_of_bytes(first, second), None, 0
    count, largest, not_finite = 0, 0.0, 0
    with np.errstate(all="ignore"):  # infinite values give NaN, which is counted
        for one, other in _pairs(first, second):
            differ = (one != other) & ~(np.isnan(one) & np.isnan(other))
            if not differ.any():
                continue
            distance = np.abs(_wide(one[differ]) - _wide(other[differ]))
            finite = distance[np.isfinite(distance)]
            count += len(distance)
            not_finite += len(distance) - len(finite)
            largest = max(largest, float(finite.max(initial=0.0)))
    return count, largest if count > not_finite or count == 0 else None, not_finite


def _count_of_bytes(first: Tensor, second: Tensor) -> int:
    """Count differing values of dtypes that NumPy lacks; of two different dtypes, all."""
    import numpy as np

    if first.dtype != second.dtype:
        return first.count
    one, other = (np.frombuffer(tensor.read(), np.uint8) for tensor in (first, second))
    return int((one != other).reshape(-1, first.itemsize).any(axis=1).sum())


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in a dtype whose differences neither overflow nor round much."""
    import numpy as np

    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def _pairs(first: Tensor, second: Tensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield corresponding values; the chunks of the two files may differ in length."""
    chunks = _arrays(first), _arrays(second)
    one, other = next(chunks[0], None), next(chunks[1], None)
    while one is not None and other is not None:
        length = min(len(one), len(other))
        yield one[:length], other[:length]
        one = one[length:] if length < len(one) else next(chunks[0], None)
        other = other[length:] if length < len(other) else next(chunks[1], None)


def _arrays(tensor: Tensor) -> Iterator[NDArray[Any]]:
    import numpy as np

    for chunk in tensor.chunks():
        if tensor.dtype in _NUMPY:
            yield np.frombuffer(chunk, _NUMPY[tensor.dtype])
        else:
            bits, longer, more, kind = _SHORTENED[tensor.dtype]
            yield (np.frombuffer(chunk, bits).astype(longer) << more).view(kind)
