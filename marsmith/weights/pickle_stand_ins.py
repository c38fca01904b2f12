"""Stand-ins for the classes and functions that a pickle names; nothing is imported."""

from __future__ import annotations

from typing import Any

from marsmith.weights.dtypes import DTYPES
from marsmith.weights.pickle_names import shown
from marsmith.weights.tensors import Storage, Tensor

UNTYPED = "untyped"
_STORAGES = {storage: dtype for dtype, (storage, _, _) in DTYPES.items() if storage}


class Inert:
    """Stands for the class or function `name`, its instances and its results."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Any = None
        self.items: dict[Any, Any] = {}  # of a subclass of dict

    def __call__(self, *_: Any, **__: Any) -> Inert:
        return Inert(self.name)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, _: Any) -> None:
        """Drop an item that a subclass of list would keep."""

    add = append


class TypedStorage:
    """A storage with a dtype, as pickles have it."""

    def __init__(self, dtype: str, storage: Storage, start: int) -> None:
        self.dtype, self.storage, self.start = dtype, storage, start


def stand_in(module: str, name: str) -> Any:
    """Return the stand-in for a class or function."""
    full = f"{module}.{name}"
    if full in _KNOWN:
        return _KNOWN[full]
    if module in ("torch", "torch.cuda") and name in _STORAGES:
        return _STORAGES[name]
    if module == "torch" and name in DTYPES:
        return name
    return Inert(shown(full))


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    _grad: Any = 0,
    _hooks: Any = 0,
    more: Any = 0,
) -> Any:
    """Stand for torch._utils._rebuild_tensor and _rebuild_tensor_v2."""
    if more:  # the values must be conjugated or negated after reading
        return Inert("torch._utils._rebuild_tensor_v2 of a conjugated or negated tensor")
    shape, strides = tuple(map(int, size)), tuple(map(int, stride))
    return Tensor(storage.dtype, shape, storage.storage, storage.start + int(offset), strides)


def _tensor_of_dtype(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    more: Any = 0,
) -> Any:
    """Stand for torch._utils._rebuild_tensor_v3, whose storage has no dtype."""
    typed = TypedStorage(dtype, storage.storage, storage.start)
    return _tensor(typed, offset, size, stride, grad, hooks, more)


def _first(value: Any, *_: Any) -> Any:
    return value


def _of_type(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    """Stand for torch._tensor._rebuild_from_type_v2: tensors with attributes, and subclasses."""
    if function in (_tensor, _tensor_of_dtype, _first):
        return function(*arguments)
    return Inert(getattr(function, "name", "torch._tensor._rebuild_from_type_v2"))


def _dict(items: Any = None, *_: Any) -> dict[Any, Any]:
    if not isinstance(items, (dict, list)):  # the first argument of a defaultdict is its factory
        return {}
    made = dict(items)
    items.clear()  # so that a small file cannot ask for endless copies
    return made


def _set(items: Any = None) -> set[Any]:
    made = set(items) if isinstance(items, list) else set()
    if made:
        items.clear()
    return made


def _list(items: Any = None) -> Any:
    return items if isinstance(items, list) else []


def _size(sizes: Any = ()) -> tuple[int, ...]:
    return tuple(map(int, sizes))


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding == "latin1" else "utf-8")


def _attribute(owner: Any, name: Any) -> Inert:
    """Stand for getattr, with which pickles name nested classes and members of enums."""
    return Inert(shown(f"{getattr(owner, 'name', '')}.{name if isinstance(name, str) else ''}"))


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _dict,
    "collections.Counter": _dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.Size": _size,
    "torch.storage.UntypedStorage": UNTYPED,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _first,
    "copy_reg._reconstructor": _first,
    **{
        f"{module}.{name}": value
        for module in ("builtins", "__builtin__")
        for name, value in {
            "set": _set,
            "dict": _dict,
            "list": _list,
            "tuple": _list,  # a list is never hashed, which could take too long for nested tuples
            "int": int,
            "float": float,
            "bool": bool,
            "complex": complex,
            "getattr": _attribute,
        }.items()
    },
}
