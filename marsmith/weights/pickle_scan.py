"""Which code one pickle would run: its opcodes are followed, and nothing is evaluated.

The same machine as pickle_reader.py, but no value of the file can stop it before pickle would stop:
what stands on the stack matters only where it names code.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

from marsmith.weights.pickle_dtypes import is_dtype, is_odd_state
from marsmith.weights.pickle_names import is_harmless, shown, today
from marsmith.weights.pickle_python import python_of
from marsmith.weights.pickle_reader import (
    MOST_NAMES,
    PickleFunction,
    TooManyOpcodesError,
    too_many_opcodes,
)
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.pickle_values import ValueDropper

_IMPORTABLE = re.compile(r"[A-Za-z_][\w.]*")
_JOBLIB = "joblib.numpy_pickle.NumpyArrayWrapper"


@dataclass
class PickledCode:
    """What the pickles of a file would import: names, with the offsets of the first."""

    names: dict[str, int] = field(default_factory=dict)
    python: str = ""  # the other Python whose bytecode is in it, such as "3.12"


class _Called(Inert):
    """What a function or class returned for some arguments."""

    def __init__(self, name: str, arguments: Any) -> None:
        super().__init__(name)
        self.arguments = arguments


class PickleScan(ValueDropper):
    """Follows one pickle after another. `joblib`: raw arrays stand between their opcodes."""

    def __init__(self, file: BinaryIO, left: int, *, joblib: bool = False) -> None:
        super().__init__(file)
        self.code = PickledCode()
        self.left = left
        self.arrays = 0  # of joblib
        self._joblib = joblib
        self.ended = False
        self._calls = self._magic = False
        self._doubtful: dict[str, int] = {}  # names that random bytes easily look like

    def follow(self) -> PickledCode:
        """Return the code of the next pickle; empty if there is none. Raises WeightsError.

        It ends where unpickling would end: at STOP, or with an exception.
        """
        self.code, self._calls, self._magic, self.ended = PickledCode(), False, False, True
        self._doubtful = {}
        try:
            self.load()
        except TooManyOpcodesError:
            raise too_many_opcodes() from None
        except Exception:  # of other bytes than a pickle's
            if not self.is_pickle:
                self.code = PickledCode()
        else:
            self.ended = False
        if self._calls or not self.ended:
            self.code.names = self._doubtful | self.code.names
        return self.code

    @property
    def is_pickle(self) -> bool:
        """Whether the last one was a pickle, and not a text that looks like one."""
        return self._calls or self._magic or not self.ended

    # ---- names

    def find_class(self, module: Any, name: Any) -> Any:
        """Return a stand-in for a name, and note it if it is not harmless."""
        if not isinstance(module, str) or not isinstance(name, str):
            return self._doubt("a name that is computed")
        full = today(f"{module}.{name}")
        if is_harmless(full):
            return self._stand_in(full)
        if not self._magic and not _IMPORTABLE.fullmatch(full):
            return Inert(full)  # a line of a text, or a module of the archive's own
        return self._found(full)

    def _found(self, name: str) -> Inert:
        self.code.names.setdefault(shown(name), self.file.tell())
        return self._stand_in(name)

    def _doubt(self, name: str) -> Inert:
        """Note a name that counts only if something is called, or if the pickle is whole.

        Tensors hold two bytes of a pickle's beginning and one of these opcodes by chance.
        """
        self._doubtful.setdefault(name, self.file.tell())
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
        self.append(self._doubt(f"copyreg's extension {number}"))

    # ---- calls

    def _call(self, function: Any, arguments: Any) -> None:
        self._calls = True
        name = function.name if isinstance(function, Inert) else type(function).__name__
        self.code.python = self.code.python or python_of(name, arguments)
        if not isinstance(function, Inert):
            raise TypeError(name)
        if isinstance(function, _Called) and is_harmless(name):
            self._found(f"a call of what {name} returned")
        if isinstance(arguments, tuple) and any(map(_is_dtype_class, arguments)):
            self._found(f"numpy.dtype, passed to {name}")
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
        if isinstance(made, _Called) and is_dtype(made) and is_odd_state(made.arguments, state):
            self._found("numpy.dtype.__setstate__")
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
            inner = PickleScan(self.file, self.left)
            inner.follow()
            self.left = inner.left
            self.code.names = inner.code.names | self.code.names
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self._pass(self.read(1)[0])
        self._pass(functools.reduce(lambda one, other: one * int(other), shape, kind.itemsize))

    dispatch: ClassVar[dict[int, PickleFunction]] = {
        **ValueDropper.dispatch,
        ord("\x80"): _protocol,
        ord("\x93"): _stack_global,
        ord("\x82"): lambda scan: scan._extension(1),
        ord("\x83"): lambda scan: scan._extension(2),
        ord("\x84"): lambda scan: scan._extension(4),
        ord("R"): _reduce,
        ord("\x81"): _reduce,  # NEWOBJ
        ord("\x92"): lambda scan: scan._reduce(2),  # NEWOBJ_EX
        ord("b"): _build,
    }


def _is_dtype_class(value: Any) -> bool:
    return is_dtype(value) and not isinstance(value, _Called)
