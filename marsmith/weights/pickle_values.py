"""The values of a pickle are passed over: they need no memory, and none stops the reader.

pickle in C takes some values that pickle in Python refuses. So numbers are not parsed, nothing is
hashed, and only texts and tuples, which can lead to a name, are kept.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

from marsmith.weights.pickle_reader import InertUnpickler, PickleFunction
from marsmith.weights.pickle_stand_ins import Inert

_LONGEST = 1 << 16  # bytes of a text that can be a name
_SET = Inert("set")


class ValueDropper(InertUnpickler):
    """Follows a pickle's stack without its values."""

    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, _no_storage)
        self.file = file
        self.readline = self._bounded_line

    def _pass(self, size: int) -> None:
        self.file.seek(min(size, 1 << 62), io.SEEK_CUR)

    def _bounded_line(self) -> bytes:
        """Return a line, of which only the beginning is kept if it is too long for a name."""
        line = part = self.file.readline(_LONGEST)
        while part and not part.endswith(b"\n"):
            part = self.file.readline(_LONGEST)
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

    dispatch: ClassVar[dict[int, PickleFunction]] = {
        **InertUnpickler.dispatch,
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
