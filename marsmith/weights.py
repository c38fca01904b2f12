"""Files of weights, looked at without executing anything in them."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

# What a state_dict's pickle names: tensors, storages, dicts (torch/_weights_only_unpickler.py).
_HARMLESS_MODULES = ("torch", "collections", "numpy", "_codecs", "__builtin__", "builtins")
_ZIP_START = b"PK"
# How torch.save's files began before PyTorch 1.6, after the pickle protocol's two bytes: its magic
# number, pickled (torch/serialization.py, MAGIC_NUMBER).
_OLD_START = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
_MAX_OPCODES = 2_000_000


def problem(path: Path) -> tuple[str, str] | None:
    """Say why a file cannot be a state_dict, with a hint, or None where nothing speaks against it.

    Recognised: an empty file, a damaged zip (PyTorch 1.6 and later), a pickled module.
    """
    with path.open("rb") as file:
        start = file.read(2 + len(_OLD_START))
    if not start:
        return "the file is empty", "save the weights again: torch.save(model.state_dict(), FILE)"
    if not start.startswith(_ZIP_START) and start[2:] != _OLD_START:
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
    strings: list[str] = []
    for count, (opcode, argument, _) in enumerate(opcodes):
        if count > _MAX_OPCODES:
            return
        name = None
        if opcode.name == "GLOBAL":
            name = str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            name = ".".join(strings[-2:])
        elif "UNICODE" in opcode.name:
            strings.append(str(argument))
        if name and _is_foreign(name):
            yield name


def _is_foreign(name: str) -> bool:
    module = name.rpartition(".")[0]
    if module.startswith(("torch.nn.modules", "torch.nn.parallel", "torchvision")):
        return True
    return module.split(".")[0] not in _HARMLESS_MODULES
