"""marsmith/weights/pickle_scan.py: attacks are found by their opcodes, wherever they lie."""

from __future__ import annotations

import collections
import gzip
import io
import os
import pathlib
import pickle
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch

from marsmith.weights.pickle_scan import hostile_names, is_pickled


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


class Program:
    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.Popen, (["true"],)


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


EVIL = pickle.dumps({"a": [1.5, Attack()]})
SEVERAL = pickle.dumps([os.path.join, Attack(), Attack()])  # the name comes from the memo
FILES = {
    **{f"protocol {n}": pickle.dumps(Attack(), protocol=n) for n in range(6)},
    "memo": SEVERAL,
    "second pickle": pickle.dumps(1) + EVIL,
    "behind raw bytes": pickle.dumps(1) + b"\xff\xfe raw" + EVIL,
    "zip": saved({"a": Attack()}),
    "legacy": saved({"a": Attack()}, _use_new_zipfile_serialization=False),
    "compressed zip": zipped("archive/data.pkl", EVIL),
    "zip in a zip": zipped("inner.pth", zipped("archive/data.pkl", EVIL)),
    "tar of old": tarred("pickle", EVIL),
    "zlib": zlib.compress(EVIL),
    "gzip": gzip.compress(EVIL),
    "entry point": b"cos\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("name", FILES)
def test_attacks_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(FILES[name])
    assert hostile_names(tmp_path / "file") in (["posix.system"], ["os.system"])


@pytest.mark.parametrize("protocol", [1, 2, 3, 5])
def test_names_are_those_of_python_3(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "file").write_bytes(pickle.dumps(Program(), protocol=protocol))
    assert hostile_names(tmp_path / "file") == ["subprocess.Popen"]


HARMLESS = [
    b"",
    b"\x80\x04",
    b"PK\x03\x04 of no archive",
    b"\x1f\x8b\x00",
    b"\x78\x9c nothing",
    bytes(range(256)) * 9,
    saved({"a": torch.ones(3)}),
    saved(torch.nn.Linear(2, 2)),
    pickle.dumps({"os": "system", "b": collections.OrderedDict(a=pathlib.PurePosixPath("a/b"))}),
    pickle.dumps(["posix", "system", "subprocess.Popen"]),
]


@pytest.mark.parametrize("content", HARMLESS)
def test_nothing_is_said_of_harmless_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert hostile_names(tmp_path / "file") == []


def test_pickles_are_known_by_name_or_start() -> None:
    assert is_pickled("a/model.PTH", b"")
    assert is_pickled("words.dat", b"\x80\x04\x95")
    assert is_pickled("words.dat", b"PK\x03\x04")
    assert not is_pickled("words.json", b'{"a": 1}')
