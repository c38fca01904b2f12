"""Find the code that would run if a file were unpickled. Opcodes are listed, not executed.

`pickle_reader.py` reads PyTorch's files. This module reads any pickle: also one that holds no
weights, is damaged after its attack, or lies within a zip or a tar.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import pickletools
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from marsmith.weights.pickle_names import is_hostile, shown, today

# Files with these endings get unpickled, whatever their first bytes are.
ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib", ".tar", ".dill", ".sav")
_STARTS = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04")
_DEEPEST = 3  # archives within archives
_MOST = 3_000_000  # opcodes that are listed
_LARGEST = 64 << 20  # bytes that are unpacked or searched
_PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}  # joblib's compressions
# The two ways in which a pickle names a function. Searched where opcodes cannot be followed:
# behind joblib's raw arrays.
_NAMED = re.compile(
    rb"c(?P<old>[\w.]{2,40})\n(?P<old_name>\w{2,40})\n"
    rb"|\x8c.(?P<new>[\w.]{2,40})\x94?\x8c.(?P<new_name>\w{2,40})\x94?\x93",
    re.DOTALL,
)
_ATTACKS = ("os", "posix", "nt", "subprocess", "commands", "builtins", "__builtin__", "runpy")


def is_pickled(name: str, start: bytes) -> bool:
    """Return whether a file may be a pickle, judged by its name and first bytes."""
    return name.lower().endswith(ENDINGS) or _STARTS.match(start) is not None


def hostile_names(path: Path) -> list[str]:
    """Return the functions in a file that attacks use, by Python 3's names.

    Raises OSError only; damaged files are read as far as possible.
    """
    with path.open("rb") as file:
        found = set(_names(file, _DEEPEST))
    return sorted({shown(today(name)) for name in found if is_hostile(name)})


def _names(file: IO[bytes], depth: int) -> Iterator[str]:
    """Yield the names in a pickle, or in the pickles of a zip or tar."""
    start = file.read(512)
    file.seek(0)
    if depth and start.startswith(b"PK"):
        yield from _in_zip(file, depth)
    elif depth and start[257:262] == b"ustar":
        yield from _in_tar(file, depth)
    elif packed := _PACKED.get(start[:2]):
        yield from _unpacked(packed(file), depth)
    elif start[:1] == b"\x78":
        content = zlib.decompressobj()
        try:
            yield from _names(BytesIO(content.decompress(file.read(_LARGEST), _LARGEST)), 0)
        except zlib.error:
            yield from _in_pickles(file)
    else:
        yield from _in_pickles(file)


def _unpacked(file: Any, depth: int) -> Iterator[str]:
    try:
        yield from _names(BytesIO(file.read(_LARGEST)), depth and depth - 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return  # unpickling it fails at the same place


def _in_zip(file: IO[bytes], depth: int) -> Iterator[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            # TorchScript has its own reader of pickles, which only knows tensors.
            scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
            for entry in archive.infolist():
                if entry.filename.lower().endswith(ENDINGS) and not scripted:
                    with archive.open(entry) as inner:
                        yield from _names(inner, depth - 1)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, zlib.error):
        return


def _in_tar(file: IO[bytes], depth: int) -> Iterator[str]:
    try:
        with tarfile.open(fileobj=file) as archive:
            for member in archive:
                is_part = "." not in PurePosixPath(member.name).name  # of torch.save before 2017
                inner = archive.extractfile(member)
                if inner and (is_part or member.name.lower().endswith(ENDINGS)):
                    yield from _names(inner, depth - 1)
    except (tarfile.TarError, OSError, EOFError, KeyError):
        return


def _in_pickles(file: IO[bytes]) -> Iterator[str]:
    """Yield the names in one pickle after another, as torch.save wrote them before 1.6."""
    while True:
        before = file.tell()
        try:
            yield from _in_opcodes(itertools.islice(pickletools.genops(file), _MOST))
        except Exception:  # other bytes than a pickle can raise anything
            yield from _searched(file, before)
            return
        if file.tell() == before:
            return


def _in_opcodes(opcodes: Iterable[tuple[Any, Any, int | None]]) -> Iterator[str]:
    """Yield the names of one pickle; strings are followed through its memo."""
    recent: list[Any] = [None, None]
    memo: dict[int, Any] = {}
    for opcode, value, _ in opcodes:
        kind = opcode.name
        if kind in ("GLOBAL", "INST"):
            yield value.replace(" ", ".", 1)
        elif kind == "STACK_GLOBAL" and all(isinstance(one, str) for one in recent[-2:]):
            yield ".".join(recent[-2:])
        if kind == "MEMOIZE":
            memo[len(memo)] = recent[-1]
        elif "PUT" in kind:
            memo[value] = recent[-1]
        elif kind not in ("PROTO", "FRAME", "STOP"):
            recent.append(memo.get(value) if "GET" in kind else value)
            del recent[:-2]


def _searched(file: IO[bytes], start: int) -> Iterator[str]:
    """Yield the names of known attacks in bytes whose opcodes cannot be followed."""
    file.seek(start)
    for found in _NAMED.finditer(file.read(_LARGEST)):
        module, name = found["old"] or found["new"], found["old_name"] or found["new_name"]
        if module.decode(errors="replace") in _ATTACKS:
            yield f"{module.decode()}.{name.decode(errors='replace')}"
