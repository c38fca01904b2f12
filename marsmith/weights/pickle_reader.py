"""Read a pickle of PyTorch's without importing or running anything that it names."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from marsmith.core.errors import WeightsError
from marsmith.weights.dtypes import DTYPES
from marsmith.weights.pickle_names import is_harmless, shown
from marsmith.weights.pickle_stand_ins import UNTYPED, Inert, TypedStorage, stand_in
from marsmith.weights.tensors import Storage

_DEEPEST = 100  # tuples within tuples
_WIDEST = 10_000_000  # values in them

LoadStorage = Callable[[str, int], Storage]  # of a key, that holds at least so many bytes


class PickleFile(Protocol):
    """A file that gives no more than it has, however much a pickle asks for: BytesIO, mmap."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, or what is left."""

    def readline(self) -> bytes:
        """Return a line."""


class InertUnpickler(pickle._Unpickler):
    """Gives dicts, lists, numbers and tensors, and an Inert for all else.

    `foreign` are the names of classes and functions beyond tensors that torch would have imported.

    It stands on pickle's reader in Python, since that in C allocates what a damaged file asks for
    (its memo, python/cpython#115952) and since here every step with a stand-in is our own.
    """

    def __init__(self, file: PickleFile, load_storage: LoadStorage) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.foreign: set[str] = set()
        self._load_storage = load_storage
        self._nests: dict[int, tuple[Any, int, int]] = {}  # by id: tuple, depth, values within

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for what a pickle names; nothing is imported."""
        full = f"{module}.{name}"
        if not is_harmless(full):
            self.foreign.add(shown(full))
        return stand_in(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """Return what stands outside the pickle: a storage, or in old files a module's source."""
        if pid[0] == "module":
            return pid[1]
        _, kind, key, _, count, *view = pid
        if not isinstance(kind, str) or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("a storage of an unknown type")
        size = 1 if kind == UNTYPED else DTYPES[kind][1]
        start = int(view[0][1]) if view and view[0] else 0
        return TypedStorage(kind, self._load_storage(str(key), count * size), start)

    def read_object(self) -> Any:
        """Return the next object of the file. Raises WeightsError where it is damaged."""
        try:
            return self.load()
        except WeightsError:
            raise
        except Exception as error:  # a damaged pickle may raise whatever there is
            hint = "copy it again, or save the state_dict again"
            raise WeightsError("the file is cut off or damaged", hint) from error

    # ---- opcodes that would reach into an object, or ask for memory

    stack: list[Any]
    read: Callable[[int], bytes]

    def _new_object(self) -> None:
        """Make an object of a class and its arguments: NEWOBJ."""
        arguments, made = self.stack.pop(), self.stack.pop()
        self.stack.append(made(*arguments))

    def _new_object_of_keywords(self) -> None:
        """Make an object of a class, its arguments, and those with names: NEWOBJ_EX."""
        self.stack.pop()
        self._new_object()

    def _build(self) -> None:
        """Set the state of an object. That of others, as of an OrderedDict, is none of ours."""
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, Inert):
            # Of an object with slots: what is not in them, what is.
            made.state = state[0] if isinstance(state, tuple) and len(state) == 2 else state

    def _bytearray(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(size)))

    def _weigh(self) -> None:
        """Refuse a nest of tuples whose hash would take forever, or all of the stack."""
        made = self.stack[-1]
        if inner := [one for one in made if isinstance(one, tuple)]:
            nests = [self._nests.get(id(one), (one, 1, len(one))) for one in inner]
            depth = 1 + max(nest[1] for nest in nests)
            weight = len(made) + sum(nest[2] for nest in nests)
            if depth > _DEEPEST or weight > _WIDEST:
                raise pickle.UnpicklingError("tuples within tuples without end")
            self._nests[id(made)] = made, depth, weight

    @staticmethod
    def _weighed(make_tuple: Callable[[Any], None]) -> Callable[[Any], None]:
        def make(unpickler: InertUnpickler) -> None:
            make_tuple(unpickler)
            unpickler._weigh()

        return make

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.NEWOBJ[0]: _new_object,
        pickle.NEWOBJ_EX[0]: _new_object_of_keywords,
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.TUPLE[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE[0]]),
        pickle.TUPLE1[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE1[0]]),
        pickle.TUPLE2[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE2[0]]),
        pickle.TUPLE3[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE3[0]]),
    }
