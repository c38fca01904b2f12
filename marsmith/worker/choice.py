"""Which worker runs an archive: one that needs neither torch nor TorchServe, or TorchServe's own.

Told from what the archive imports, read and not run. TorchServe's worker imports torch for itself
(ts/protocol/otf_message_handler.py), so an ONNX model would need PyTorch for nothing.
"""

from __future__ import annotations

import ast
from enum import Enum
from pathlib import PurePosixPath

from marsmith.archive.reader import Archive
from marsmith.core.installed import is_installed, require
from marsmith.project.python_imports import Import, imports

_WITHOUT_TORCH = (".onnx", ".xml")  # models that other engines run
_OF_TORCH = ("torch", "torchvision", "torchaudio", "timm", "captum")
_OF_TORCHSERVE = "ts"
_LARGEST = 1 << 22  # bytes of a file of code


class Needs(Enum):
    """What must be installed where an archive's handler runs."""

    NOTHING = "neither torch nor torchserve"
    TORCH = "torch"
    TORCHSERVE = "torchserve"


def needs(archive: Archive) -> Needs:
    """Read what an archive needs. Raises ArchiveError."""
    manifest = archive.manifest
    handler = manifest.handler.partition(":")[0].removesuffix(".py").rpartition("/")[2]
    own = _files(archive, handler)
    if manifest.envelope or not own:  # both are part of TorchServe
        return Needs.TORCHSERVE
    model = manifest.model_file
    first = [*own, *([model] if model else [])]
    if _OF_TORCHSERVE in _imported(archive, first, lazily=True):
        return Needs.TORCHSERVE
    suffix = PurePosixPath(manifest.serialized_file or "").suffix
    if model or suffix not in ("", *_WITHOUT_TORCH):
        return Needs.TORCH
    # With such a model, what a function imports is for other models. Without any, it is for this.
    found = _imported(archive, first, lazily=not suffix)
    return Needs.NOTHING if found.isdisjoint(_OF_TORCH) else Needs.TORCH


def uses_torchserve(archive: Archive, envelope: str = "") -> bool:
    """Whether TorchServe's own worker runs an archive, and not Marsmith's own.

    A handler that needs torch alone is run by TorchServe's where that is installed, since that is
    what serves it. What takes requests out of an `envelope` is TorchServe's too. Raises
    MissingExtraError if nothing here can run it, and ArchiveError.
    """
    needed = Needs.TORCHSERVE if envelope else needs(archive)
    if needed is Needs.NOTHING:
        return False
    if needed is Needs.TORCH and not is_installed(_OF_TORCHSERVE):
        require(f"{archive.name} holds a PyTorch model: running it", "torch")
        return False
    require(f"{archive.name}: running its handler", "torchserve", _OF_TORCHSERVE, "torch")
    return True


def _files(archive: Archive, module: str) -> list[str]:
    """Return the archive's files that an import runs: the module and the packages around it."""
    parts = module.split(".")
    names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    found = [f"{name}{end}" for name in names for end in (".py", "/__init__.py")]
    return [name for name in found if name in archive.names]


def _imported(archive: Archive, entries: list[str], *, lazily: bool) -> set[str]:
    """Return the packages that files import, and the archive's files that these import.

    `lazily` counts what only a function imports, or an `if` or `try`.
    """
    seen: set[str] = set()
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        entry = waiting.pop()
        if entry in seen:
            continue
        seen.add(entry)
        for one in _imports(archive, entry):
            if lazily or not one.optional:
                found |= {module.partition(".")[0] for module in one.modules}
                waiting += [file for module in one.modules for file in _files(archive, module)]
    return found


def _imports(archive: Archive, entry: str) -> list[Import]:
    try:
        tree = ast.parse(archive.read(entry, _LARGEST))
    except (SyntaxError, ValueError, RecursionError):  # a load says so
        return []
    return imports(tree, ".".join(PurePosixPath(entry).parent.parts))
