"""Read a pickle of PyTorch's without importing or running anything that it names."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from marsmith.errors import WeightsError
from marsmith.tensors import DTYPES, Storage, Tensor

_DAMAGED = "copy it again, or save the state_dict again"
_STORAGES = {cls: dtype for dtype, (cls, _, _) in DTYPES.items() if cls}
_UNTYPED = "untyped"
# Classes that only hold values. Whatever else a pickle names is kept as `foreign`.
_HARMLESS = re.compile(
    r"torch\.(?!nn\.(modules|parallel)|jit|hub|storage\._load_from_bytes)|collections\.|numpy\."
    r"|_codecs\.encode$"
    r"|(__builtin__|builtins)\.(set|dict|list|tuple|int|float|bool|complex|bytearray|slice|range)$"
)

LoadStorage = Callable[[str, int], Storage]  # of a key, that holds at least so many bytes


class Inert:
    """Stands for an object of a class that was not imported; `name` is that of the class."""

    name = ""
    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item as the dict or list that it stands for would, and drop it."""

    def __call__(self, *_: Any, **__: Any) -> Inert:
        return self

    def __hash__(self) -> int:
        return id(self)

    def append(self, _: Any) -> None:
        """Take an item, and drop it."""

    def extend(self, _: Any) -> None:
        """Take items, and drop them."""

    add = append


class InertUnpickler(pickle.Unpickler):
    """Gives dicts, lists, numbers and tensors, and an Inert for all else.

    `foreign` are the names of classes and functions beyond tensors that torch would have imported.
    """

    def __init__(self, file: BinaryIO, load_storage: LoadStorage) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.foreign: set[str] = set()
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for what a pickle names; nothing is imported."""
        full = f"{module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and name in DTYPES:
            return name
        if not _HARMLESS.match(full):
            self.foreign.add(full)
        return type("Inert", (Inert,), {"name": full})

    def persistent_load(self, pid: Any) -> Any:
        """Return what stands outside the pickle: a storage, or in old files a module's source."""
        if pid[0] == "module":
            return pid[1]
        _, kind, key, _, count, *view = pid
        if not isinstance(kind, str):
            raise pickle.UnpicklingError("a storage of an unknown type")
        size = 1 if kind == _UNTYPED else DTYPES[kind][1]
        start = int(view[0][1]) if view and view[0] else 0
        return _TypedStorage(kind, self._load_storage(str(key), int(count) * size), start)

    def read(self) -> Any:
        """Return the next object of the file. Raises WeightsError where it is damaged."""
        try:
            return self.load()
        except WeightsError:
            raise
        except Exception as error:  # a damaged pickle may raise whatever there is
            raise WeightsError("the file is cut off or damaged", _DAMAGED) from error


class _TypedStorage:
    def __init__(self, dtype: str, storage: Storage, start: int) -> None:
        self.dtype, self.storage, self.start = dtype, storage, start


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Stand for torch._utils._rebuild_tensor_v2."""
    shape, strides = tuple(map(int, size)), tuple(map(int, stride))
    return Tensor(storage.dtype, shape, storage.storage, storage.start + int(offset), strides)


def _tensor_of_dtype(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    _gradient: Any,
    _hooks: Any,
    dtype: str,
    *_: Any,
) -> Tensor:
    """Stand for torch._utils._rebuild_tensor_v3, whose storage has no type."""
    if dtype not in DTYPES:
        raise pickle.UnpicklingError("a tensor of an unknown dtype")
    shape, strides = tuple(map(int, size)), tuple(map(int, stride))
    return Tensor(dtype, shape, storage.storage, int(offset), strides)


def _first(value: Any, *_: Any) -> Any:
    return value


class _Dict(dict[Any, Any]):
    """A dict that may have attributes, as the `_metadata` of a state_dict."""

    def __init__(self, items: Any = (), *_: Any) -> None:
        # A defaultdict begins with a factory, which is of no use here.
        super().__init__(items if isinstance(items, (dict, list, tuple)) else ())


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding == "latin1" else "utf-8")


def _reconstructed(cls: Any, *_: Any) -> Any:
    return cls() if isinstance(cls, type) and issubclass(cls, Inert) else None


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": _Dict,
    "collections.defaultdict": _Dict,
    "collections.Counter": _Dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _first,
    "torch.Size": tuple,
    "torch.storage.UntypedStorage": _UNTYPED,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
    **{
        f"{module}.{kind.__name__}": kind
        for module in ("builtins", "__builtin__")
        for kind in (set, dict, list, tuple, int, float, bool, complex, slice)
    },
}
