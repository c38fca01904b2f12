"""Files of weights, looked at without executing anything in them."""

from __future__ import annotations

import itertools
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

# What a state_dict's pickle names: tensors, storages, dicts (torch/_weights_only_unpickler.py).
_HARMLESS = re.compile(
    r"torch\.(?!nn\.(modules|parallel)|jit|hub)|collections\.|numpy\.|_codecs\.encode$"
    r"|(__builtin__|builtins)\.(set|dict|list|tuple|int|float|bool|complex|bytearray|slice|range)$"
)
_ZIP_START = b"PK"
# With this magic number, pickled, files began before PyTorch 1.6 (torch/serialization.py).
_OLD_MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_MAX_OPCODES = 2_000_000


def problem(path: Path) -> tuple[str, str] | None:
    """Say why a file cannot be a state_dict, with a hint, or None where nothing speaks against it.

    Recognised: an empty file, a damaged zip (PyTorch 1.6 and later), a pickled module.
    """
    with path.open("rb") as file:
        start = file.read(32)
    if not start:
        return "the file is empty", "save the weights again: torch.save(model.state_dict(), FILE)"
    if not start.startswith(_ZIP_START) and _OLD_MAGIC not in start:
        return "the file is nothing that torch.save wrote", "name the file of the state_dict"
    if start.startswith(_ZIP_START) and not zipfile.is_zipfile(path):
        return "the file is cut off or damaged", "copy it again, or save the state_dict again"
    try:
        foreign = sorted(set(_foreign_classes(path)))
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, KeyError):
        return "the file is cut off or damaged", "copy it again, or save the state_dict again"
    if foreign:
        return (
            f"the file pickles more than tensors: {', '.join(foreign)}",
            "save the state_dict alone: torch.save(model.state_dict(), FILE)",
        )
    return None


def _foreign_classes(path: Path) -> Iterator[str]:
    """Yield the classes outside PyTorch's own tensors that unpickling would import."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickles = [
                name for name in names if name.endswith("/data.pkl") and name.count("/") == 1
            ]
            scripted = any(name.endswith("/constants.pkl") for name in names)
            for name in pickles if not scripted else []:
                yield from _globals(pickletools.genops(archive.read(name)))
    else:
        with path.open("rb") as file:
            # Older files hold three small pickles (magic, protocol, system) before the fourth.
            for _ in range(4):
                yield from _globals(pickletools.genops(file))


def _globals(
    opcodes: Iterator[tuple[pickletools.OpcodeInfo, object, int | None]],
) -> Iterator[str]:
    """Yield the names outside `_HARMLESS` that a pickle imports; strings may come from its memo."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    last = ""
    for opcode, argument, _ in itertools.islice(opcodes, _MAX_OPCODES):
        name = ""
        if opcode.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
            memo[len(memo) if argument is None else int(str(argument))] = last
            continue
        if opcode.name == "GLOBAL":
            name = str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            name = ".".join(strings[-2:])
        last = str(argument) if "UNICODE" in opcode.name else ""
        if opcode.name in ("BINGET", "LONG_BINGET", "GET"):
            last = memo.get(int(str(argument)), "")
        strings += [last] if last else []
        if name and not _HARMLESS.match(name):
            yield name
