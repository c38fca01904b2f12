"""Find the code in files, whatever they are called: pickles, programs of PyTorch's.

Every file is looked at by its content, within zips, tars and compressed files too. What a handler
decodes, decrypts or cuts out itself (base64, say) is out of reach.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from marsmith.core.errors import WeightsError
from marsmith.core.hashing import sha256_of
from marsmith.weights.containers_within import Budget, UnsearchableError, members
from marsmith.weights.pickle_python import is_other
from marsmith.weights.pickled_code import pickled_code
from marsmith.weights.torch_programs import operators_in

_DEEPEST = 8  # archives within archives


@dataclass
class FoundCode:
    """The code in one file of an archive."""

    file: str  # its name in the archive
    digest: str = ""  # sha256:…
    names: dict[str, str] = field(default_factory=dict)  # what unpickling imports → where
    operators: dict[str, str] = field(default_factory=dict)  # that use files → where
    custom: dict[str, str] = field(default_factory=dict)  # operators of other libraries → where
    python: str = ""  # the other Python whose bytecode it pickles
    unsearchable: str = ""  # why a part of it cannot be searched

    @property
    def runs(self) -> bool:
        """Whether loading or calling it may do more than compute."""
        return bool(self.names or self.operators or self.unsearchable)


def code_in(path: Path) -> list[FoundCode]:
    """Return the code in the files of an archive (zip, tar or folder). Raises OSError."""
    found = []
    budget = Budget(path)
    for name, file in _top(path, budget):
        one = FoundCode(name)
        _search(one, file, "", budget, _DEEPEST)
        if one.runs or one.custom:
            file.seek(0)
            one.digest = f"sha256:{sha256_of(file)}"
            found.append(one)
    return found


def _top(path: Path, budget: Budget) -> Iterator[tuple[str, BinaryIO]]:
    if path.is_dir():
        for folder, _, names in os.walk(path):  # follows no links
            for file in (Path(folder, name) for name in sorted(names)):
                if file.is_file() and not file.is_symlink():
                    with file.open("rb") as opened:
                        yield file.relative_to(path).as_posix(), opened
        return
    with path.open("rb") as opened:
        for member in members(opened, budget):
            if member.name:
                yield member.name, member.file
            else:  # a tar within gzip; its files lie in one folder, as TorchServe's do
                for inner in members(member.file, budget):
                    yield inner.name, inner.file


def _search(found: FoundCode, file: BinaryIO, place: str, budget: Budget, depth: int) -> None:
    """Search one file, then those within it; `place` is its path within the archive's file."""
    try:
        _search_pickles(found, file, place, budget)
        acts, custom = operators_in(file, place)
        found.operators |= dict.fromkeys(acts, place)
        found.custom |= dict.fromkeys(custom, place)
        for member in members(file, budget):
            if depth == 0:
                raise UnsearchableError("too many archives lie within each other")
            inner = "/".join(filter(None, (place, member.name)))
            _search(found, member.file, inner, budget, depth - 1)
    except (UnsearchableError, WeightsError, ValueError) as error:
        found.unsearchable = found.unsearchable or str(error)


def _search_pickles(found: FoundCode, file: BinaryIO, place: str, budget: Budget) -> None:
    file.seek(0)
    code, budget.opcodes = pickled_code(file, budget.opcodes)
    for name, offset in code.names.items():
        found.names.setdefault(name, f"{place} at byte {offset}" if place else f"byte {offset}")
    if is_other(code.python):
        found.python = code.python
