"""Read PyTorch's pickles without importing or running anything that they name."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from marsmith.core.errors import WeightsError
from marsmith.weights.dtypes import DTYPES
from marsmith.weights.pickle_names import is_tensor, shown
from marsmith.weights.pickle_stand_ins import UNTYPED, Inert, TypedStorage, stand_in
from marsmith.weights.tensors import Storage, damaged

_DEEPEST = 100  # levels of nested tuples
_WIDEST = 10_000_000  # values in them
MOST_OPCODES = 1_000_000  # of a file; one of a large model has some 100,000
MOST_NAMES = 10_000  # of classes and functions
_QUANTISED = {
    f"torch.{kind}Storage" for kind in ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")
}
_LONGEST_NUMBER = 1024  # bytes

PickleFunction = Callable[[Any], None]

LoadStorage = Callable[[str, int], Storage]  # (key, smallest size in bytes)


class PickleFile(Protocol):
    """A file that allocates no more than it has, however much a pickle asks for: BytesIO, mmap."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer at the end."""

    def readline(self) -> bytes:
        """Return a line."""


class TooManyOpcodesError(Exception):
    """A pickle is longer than anything that can be read in reasonable time."""


def too_many_opcodes() -> WeightsError:
    """Return the error for a file with a pickle that is too long."""
    return WeightsError(
        f"a pickle in it has more than {MOST_OPCODES:,} opcodes",
        "save the state_dict alone: torch.save(model.state_dict(), FILE)",
        code="weights-too-many-values",
    )


class InertUnpickler(pickle._Unpickler):
    """Returns dicts, lists, numbers and tensors, and an Inert for all else.

    `foreign` are the names of classes and functions that torch.load would import, beyond tensors.

    It is based on pickle's reader in Python. The one in C allocates as much as a damaged file asks
    for (its memo, python/cpython#115952), and does not let us override opcodes.
    """

    stack: list[Any]
    metastack: list[Any]
    memo: dict[int, Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    def __init__(self, file: PickleFile, load_storage: LoadStorage) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.read, self.readline = file.read, file.readline
        self.left = MOST_OPCODES
        self.stand_ins: dict[str, Any] = {}
        self.foreign: set[str] = set()
        self._load_storage = load_storage
        self._nests: dict[int, tuple[Any, int, int]] = {}  # by id: tuple, depth, count of values

    def load(self) -> Any:
        """Return the next object of the file; as pickle's own, but it ends at some number."""
        self.stack, self.metastack, self.memo, self.proto = [], [], {}, 0
        self.append = self.stack.append
        try:
            while self.left > 0:
                self.left -= 1
                self.dispatch[self._opcode()](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        raise TooManyOpcodesError

    def _opcode(self) -> int:
        opcode = self.read(1)
        if not opcode:
            raise EOFError
        return opcode[0]

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for a name; nothing is imported."""
        full = f"{module}.{name}"
        if not is_tensor(full):
            self.foreign.add(shown(full))
        if len(self.stand_ins) > MOST_NAMES:
            raise TooManyOpcodesError
        return self.stand_ins.setdefault(full, stand_in(module, name))

    def persistent_load(self, pid: Any) -> Any:
        """Return what lies outside the pickle: a storage, or in old files a module's source."""
        if pid[0] == "module":
            return pid[1]
        _, kind, key, _, count, *view = pid
        if isinstance(kind, Inert) and kind.name in _QUANTISED:
            raise WeightsError(
                "the file holds quantised tensors, which Marsmith does not read",
                "save the float32 model's state_dict; for int8: marsmith export --dtype int8",
                code="weights-special-tensor",
            )
        if not isinstance(kind, str) or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("a storage of an unknown type")
        size = 1 if kind == UNTYPED else DTYPES[kind][1]
        start = int(view[0][1]) if view and view[0] else 0
        return TypedStorage(kind, self._load_storage(str(key), count * size), start)

    def read_object(self) -> Any:
        """Return the next object of the file. Raises WeightsError if it is damaged."""
        try:
            return self.load()
        except WeightsError:
            raise
        except TooManyOpcodesError:
            raise too_many_opcodes() from None
        except Exception as error:  # a damaged pickle can raise anything
            raise damaged() from error

    # ---- opcodes that would change an object or allocate memory

    def _frame(self) -> None:
        """Pass over a frame's length. pickle in C reads on behind a frame, that in Python fails."""
        self.read(8)

    def _new_object(self) -> None:
        """Create an object from a class and its arguments: NEWOBJ."""
        arguments, made = self.stack.pop(), self.stack.pop()
        self.stack.append(made(*arguments))

    def _new_object_of_keywords(self) -> None:
        """Create an object from a class, arguments and keyword arguments: NEWOBJ_EX."""
        self.stack.pop()
        self._new_object()

    def _build(self) -> None:
        """Set the state of an Inert; that of other objects is dropped."""
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, Inert):
            # An object with slots has a pair: its __dict__, and its slots.
            made.state = state[0] if isinstance(state, tuple) and len(state) == 2 else state

    def _bytearray(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(size)))

    def _long(self, size_format: str) -> None:
        (size,) = struct.unpack(size_format, self.read(struct.calcsize(size_format)))
        if not 0 <= size <= _LONGEST_NUMBER:
            raise pickle.UnpicklingError("a number is too large")
        self.append(pickle.decode_long(self.read(size)))

    def _weigh(self) -> None:
        """Refuse nested tuples that take too long, or too much stack, to hash."""
        made = self.stack[-1]
        if inner := [one for one in made if isinstance(one, tuple)]:
            nests = [self._nests.get(id(one), (one, 1, len(one))) for one in inner]
            depth = 1 + max(nest[1] for nest in nests)
            weight = len(made) + sum(nest[2] for nest in nests)
            if depth > _DEEPEST or weight > _WIDEST:
                raise pickle.UnpicklingError("tuples are nested too deeply")
            self._nests[id(made)] = made, depth, weight

    @staticmethod
    def _weighed(make_tuple: PickleFunction) -> PickleFunction:
        def make(unpickler: InertUnpickler) -> None:
            make_tuple(unpickler)
            unpickler._weigh()

        return make

    dispatch: ClassVar[dict[int, PickleFunction]] = {
        **pickle._Unpickler.dispatch,
        pickle.FRAME[0]: _frame,
        pickle.NEWOBJ[0]: _new_object,
        pickle.NEWOBJ_EX[0]: _new_object_of_keywords,
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.LONG1[0]: lambda unpickler: unpickler._long("<B"),
        pickle.LONG4[0]: lambda unpickler: unpickler._long("<i"),
        pickle.TUPLE[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE[0]]),
        pickle.TUPLE1[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE1[0]]),
        pickle.TUPLE2[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE2[0]]),
        pickle.TUPLE3[0]: _weighed(pickle._Unpickler.dispatch[pickle.TUPLE3[0]]),
    }
