"""Which code one pickle would run: its opcodes are followed, and nothing is evaluated.

The same machine as pickle_reader.py, but no value of the file can stop it before pickle would stop:
what stands on the stack matters only where it names code.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

from marsmith.weights.pickle_names import is_harmless, shown, today
from marsmith.weights.pickle_python import python_of
from marsmith.weights.pickle_reader import (
    MOST_NAMES,
    InertUnpickler,
    PickleFunction,
    TooManyOpcodesError,
    too_many_opcodes,
)
from marsmith.weights.pickle_stand_ins import Inert

_LONGEST = 1 << 16  # bytes of a text that can be a name
_IMPORTABLE = re.compile(r"[A-Za-z_][\w.]*")
_JOBLIB = "joblib.numpy_pickle.NumpyArrayWrapper"


@dataclass
class PickledCode:
    """What the pickles of a file would import: names, with the offsets of the first."""

    names: dict[str, int] = field(default_factory=dict)
    python: str = ""  # the other Python whose bytecode is in it, such as "3.12"


_SET = Inert("set")


class _Called(Inert):
    """What a function or class returned for some arguments."""

    def __init__(self, name: str, arguments: Any) -> None:
        super().__init__(name)
        self.arguments = arguments


class PickleScan(InertUnpickler):
    """Follows one pickle after another. `joblib`: raw arrays stand between their opcodes."""

    def __init__(self, file: BinaryIO, left: int, *, joblib: bool = False) -> None:
        super().__init__(file, _no_storage)
        self.code = PickledCode()
        self.left = left
        self.arrays = 0  # of joblib
        self._file, self._joblib = file, joblib
        self.readline = self._bounded_line
        self.ended = False
        self._calls = self._magic = False  # is it a pickle, and not a text that looks like one?

    def follow(self) -> PickledCode:
        """Return the code of the next pickle; empty if there is none. Raises WeightsError.

        It ends where unpickling would end: at STOP, or with an exception.
        """
        self.code, self._calls, self._magic = PickledCode(), False, False
        try:
            self.load()
        except TooManyOpcodesError:
            raise too_many_opcodes() from None
        except Exception:  # of other bytes than a pickle's
            if not self._calls and not self._magic:
                self.code = PickledCode()
            self.ended = True
        else:
            self.ended = False
        return self.code

    # ---- names

    def find_class(self, module: Any, name: Any) -> Any:
        """Return a stand-in for a name, and note it if it is not harmless."""
        if not isinstance(module, str) or not isinstance(name, str):
            return self._found("a name that is computed")
        full = today(f"{module}.{name}")
        if is_harmless(full):
            return self._stand_in(full)
        if not self._magic and not _IMPORTABLE.fullmatch(full):
            raise ValueError(full)
        return self._found(full)

    def _found(self, name: str) -> Inert:
        self.code.names.setdefault(shown(name), self._file.tell())
        return self._stand_in(name)

    def _stand_in(self, name: str) -> Inert:
        if len(self.stand_ins) > MOST_NAMES:
            raise TooManyOpcodesError
        one: Inert = self.stand_ins.setdefault(name, Inert(name))
        return one

    def persistent_load(self, _pid: Any) -> Any:
        """Return a stand-in for what lies outside the pickle."""
        return Inert("persistent")

    def _protocol(self) -> None:
        self.proto = self.read(1)[0]
        self._magic = True

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.append(self.find_class(module, name))

    def _extension(self, size: int) -> None:
        """Note a name that a program has registered by a number."""
        number = int.from_bytes(self.read(size), "little")
        self.append(self._found(f"copyreg's extension {number}"))

    # ---- calls

    def _call(self, function: Any, arguments: Any) -> None:
        self._calls = True
        name = function.name if isinstance(function, Inert) else type(function).__name__
        self.code.python = self.code.python or python_of(name, arguments)
        if not isinstance(function, Inert):
            raise TypeError(name)
        if isinstance(function, _Called) and is_harmless(name):
            self._found(f"a call of what {name} returned")
        self.append(_Called(name, arguments))

    def _instantiate(self, klass: Any, args: Any) -> None:
        self._call(klass, tuple(args))

    def _reduce(self, arguments: int = 1) -> None:
        """Call what lies below so many arguments: REDUCE, NEWOBJ, NEWOBJ_EX."""
        given = [self.stack.pop() for _ in range(arguments)]
        self._call(self.stack.pop(), given[-1])

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        self._calls = True
        if not isinstance(made, Inert):
            return
        if not isinstance(made, _Called):
            self._found(f"{made.name}.__setstate__")  # of the class or function itself
        made.state = state
        if made.name == _JOBLIB and isinstance(state, dict):
            self.arrays += 1
            if self._joblib:
                self._pass_array(state)

    def _pass_array(self, state: dict[Any, Any]) -> None:
        """Pass over an array as joblib's NumpyArrayWrapper.read_array reads it."""
        import numpy as np

        dtype, shape = state["dtype"], state["shape"]
        kind = np.dtype(dtype.arguments[0])
        if kind.hasobject:
            inner = PickleScan(self._file, self.left)
            inner.follow()
            self.left = inner.left
            self.code.names = inner.code.names | self.code.names
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self._pass(self.read(1)[0])
        self._pass(functools.reduce(lambda one, other: one * int(other), shape, kind.itemsize))

    # ---- values, which are dropped

    def _pass(self, size: int) -> None:
        self._file.seek(min(size, 1 << 62), io.SEEK_CUR)

    def _bounded_line(self) -> bytes:
        """Return a line, of which only the beginning is kept if it is too long for a name."""
        line = part = self._file.readline(_LONGEST)
        while part and not part.endswith(b"\n"):
            part = self._file.readline(_LONGEST)
        return line if line.endswith(b"\n") else line + part[-1:]

    def _put(self, value: Any) -> None:
        self.append(value)

    def _line(self) -> None:
        self.readline()
        self.append(0)

    def _text(self, size_format: str) -> None:
        size = self._number(size_format)
        if size <= _LONGEST:
            self.append(str(self.read(size), "utf-8", "surrogatepass"))
        else:
            self._pass(size)
            self.append(Inert("a long text"))

    def _bytes(self, size_format: str, *, text: bool = False) -> None:
        size = self._number(size_format)
        if size > _LONGEST:
            self._pass(size)
            self.append(Inert("long bytes"))
            return
        value = self.read(size)
        self.append(str(value, "utf-8", "replace") if text else value)

    def _number(self, size_format: str) -> int:
        (number,) = struct.unpack(size_format, self.read(struct.calcsize(size_format)))
        if number < 0:
            raise ValueError(number)
        return int(number)

    def _tuple(self, count: int) -> None:
        items = self.stack[len(self.stack) - count :]
        if len(items) < count:
            raise IndexError(count)
        self.stack[len(self.stack) - count :] = [tuple(items)]

    def _marked(self, value: Callable[[list[Any]], Any] | None) -> None:
        """Take what lies above the mark; put a value for it, or change what lies below."""
        items = self.pop_mark()
        if value is not None:
            self.append(value(items))
        else:
            self._set(items)

    def _set(self, items: list[Any]) -> None:
        """Keep items of a dict by their text; others lead to no name."""
        if isinstance(self.stack[-1], dict):
            pairs = zip(items[::2], items[1::2], strict=False)
            self.stack[-1].update((key, value) for key, value in pairs if isinstance(key, str))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _append_item(self) -> None:
        self.stack.pop()
        _ = self.stack[-1]

    def _nothing(self) -> None:
        pass

    pop_mark: Callable[[], list[Any]]

    dispatch: ClassVar[dict[int, PickleFunction]] = {
        **InertUnpickler.dispatch,
        ord("\x80"): _protocol,
        ord("I"): _line,
        ord("L"): _line,
        ord("F"): _line,
        ord("\x8a"): lambda scan: scan._bytes("<B"),  # LONG1
        ord("\x8b"): lambda scan: scan._bytes("<i"),  # LONG4
        ord("T"): lambda scan: scan._bytes("<i", text=True),
        ord("U"): lambda scan: scan._bytes("<B", text=True),
        ord("B"): lambda scan: scan._bytes("<I"),
        ord("C"): lambda scan: scan._bytes("<B"),
        ord("\x8e"): lambda scan: scan._bytes("<Q"),  # BINBYTES8
        ord("\x96"): lambda scan: scan._bytes("<Q"),  # BYTEARRAY8
        ord("\x97"): lambda scan: scan._put(Inert("buffer")),  # NEXT_BUFFER
        ord("\x98"): _nothing,  # READONLY_BUFFER
        ord("X"): lambda scan: scan._text("<I"),
        ord("\x8c"): lambda scan: scan._text("<B"),
        ord("\x8d"): lambda scan: scan._text("<Q"),
        ord("\x93"): _stack_global,
        ord("\x82"): lambda scan: scan._extension(1),
        ord("\x83"): lambda scan: scan._extension(2),
        ord("\x84"): lambda scan: scan._extension(4),
        ord("R"): _reduce,
        ord("\x81"): _reduce,  # NEWOBJ
        ord("\x92"): lambda scan: scan._reduce(2),  # NEWOBJ_EX
        ord("b"): _build,
        ord("t"): lambda scan: scan._marked(tuple),
        ord("\x85"): lambda scan: scan._tuple(1),
        ord("\x86"): lambda scan: scan._tuple(2),
        ord("\x87"): lambda scan: scan._tuple(3),
        ord("\x8f"): lambda scan: scan._put(_SET),  # EMPTY_SET
        ord("l"): lambda scan: scan._marked(lambda _: []),
        ord("d"): lambda scan: scan._marked(lambda _: {}),
        ord("\x91"): lambda scan: scan._marked(lambda _: Inert("frozenset")),
        ord("u"): lambda scan: scan._marked(None),
        ord("e"): lambda scan: scan._marked(None),
        ord("\x90"): lambda scan: scan._marked(None),  # ADDITEMS
        ord("s"): _set_item,
        ord("a"): _append_item,
    }


def _no_storage(_key: str, _size: int) -> Any:
    return None
