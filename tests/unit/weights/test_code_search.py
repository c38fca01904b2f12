"""marsmith/weights/code_search.py: code is found by what it is, wherever it lies."""

from __future__ import annotations

import bz2
import collections
import copyreg
import datetime
import gzip
import io
import lzma
import os
import pathlib
import pickle
import random
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marsmith.weights.code_search import FoundCode, code_in


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


class Program:
    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.Popen, (["true"],)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def without_magic(tar: bytes) -> bytes:
    """Return a tar as it was written before POSIX."""
    header = tar[:148] + b" " * 8 + tar[156:257] + b"\0" * 8 + tar[265:512]
    return header[:148] + b"%06o\0 " % sum(header) + header[156:] + tar[512:]


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def numpy_saved(*values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([*values, None], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def searched(tmp_path: Path, content: bytes) -> FoundCode:
    """Return what is found in the only file of an archive; `digest` is empty if nothing is."""
    path = tmp_path / "a.mar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("noise.txt", "cats\ndogs\n(birds\n")
        archive.writestr("file", content)
    found = code_in(path)
    assert len(found) <= 1
    return found[0] if found else FoundCode("file")


EVIL = pickle.dumps({"a": [1.5, Attack()]})
SYSTEM = b"cos\nsystem\n"
BEHIND = b"(K\x01K\x02" + pickle.POP_MARK  # pushed and dropped again
FILES: dict[str, bytes] = {
    **{f"protocol {n}": pickle.dumps(Attack(), protocol=n) for n in range(6)},
    "memo": pickle.dumps([os.path.join, Attack(), Attack()]),
    "second pickle": pickle.dumps(1) + EVIL,
    "behind raw bytes": pickle.dumps(1) + b"\xff\xfe raw" + EVIL,
    "torch zip": saved({"a": Attack()}),
    "torch legacy": saved({"a": Attack()}, _use_new_zipfile_serialization=False),
    "compressed zip": zipped({"archive/data.pkl": EVIL}),
    "zips in zips": zipped({"a": zipped({"b": zipped({"c": EVIL})}, 0)}),
    "zip behind other bytes": b"\x7fELF other bytes" + zipped({"a": EVIL}),
    "member of another name": zipped({"archive/data.pkl": pickle.dumps({}), "x/notes": EVIL}),
    "TorchScript in name": zipped({"a/data.pkl": EVIL, "a/constants.pkl": b"\x80\x02)."}, 0),
    "tar": tarred("pickle", EVIL),
    "tar without a magic": without_magic(tarred("notes.txt", EVIL)),
    "numpy": numpy_saved(Attack()),
    "numpy in numpy's zip": zipped({"a.npy": numpy_saved(Attack())}, 0),
    "npz in a zip without an ending": zipped({"inner": zipped({"a.npy": numpy_saved(Attack())})}),
    "zlib": zlib.compress(EVIL),
    "gzip": gzip.compress(EVIL),
    "bz2": bz2.compress(EVIL),
    "xz": lzma.compress(EVIL),
    "lzma alone": lzma.compress(EVIL, lzma.FORMAT_ALONE),
    "gzip of a tar of a zip": gzip.compress(tarred("a", zipped({"b": EVIL}))),
    "without STOP": SYSTEM + b"(S'true'\ntR",
    "INST": b"(S'true'\nios\nsystem\n.",
    "OBJ": b"(" + SYSTEM + b"S'true'\no.",
    "NEWOBJ": b"\x80\x02" + SYSTEM + b"X\x04\0\0\0true\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04" + SYSTEM + text("true") + b"\x85}\x92.",
    "BUILD of a function": b"\x80\x02" + SYSTEM + b"}b.",
    "junk before STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + BEHIND + b"\x93)R.",
    "persistent ids": b"\x80\x02Pabc\n0" + b"NQ0" + SYSTEM + b"X\x04\0\0\0true\x85R.",
    # What stops pickle in Python, or our reader, but not pickle in C:
    "a frame that ends early": b"\x80\x04\x95" + struct.pack("<Q", 3) + SYSTEM + b"S'true'\n\x85R.",
    "an octal number": b"\x80\x02I010\n0" + SYSTEM + b"X\x04\0\0\0true\x85R.",
    "a tensor of nonsense": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR0"
    + SYSTEM
    + b"X\x04\0\0\0true\x85R.",
    "arguments that are computed": b"\x80\x02" + SYSTEM + b"c__builtin__\ntuple\n]X\x04\0\0\0truea"
    b"\x85RR.",
    "a name of the archive's own first": b"cown module\nname\n0" + SYSTEM + b"(S'true'\ntR.",
    "behind a pickle that fails": b"\x80\x02cmath\nnothing\n" + b"\xff raw \xfe" + EVIL,
    "behind many false starts": pickle.dumps(1) + b"\x80\x02\xff" * 100_000 + EVIL,
    "a name behind a long text": b"\x80\x02X" + struct.pack("<I", 1 << 17) + b"x" * (1 << 17)
    + b"0" + SYSTEM + b"X\x04\0\0\0true\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_attacks_are_named(tmp_path: Path, name: str) -> None:
    found = searched(tmp_path, FILES[name])
    assert found.file == "file"
    assert {"posix.system", "os.system"} & found.names.keys()
    assert found.runs


# ---- what loads although something of it is damaged or odd


def directory_with(content: bytes, at: int, value: bytes) -> bytes:
    """Return a zip with a field of each entry of its directory replaced."""
    found = [match.start() for match in re.finditer(rb"PK\x01\x02", content)]
    changed = bytearray(content)
    for place in found:
        changed[place + at : place + at + len(value)] = value
    return bytes(changed)


def run_by_torch(path: Path) -> None:
    torch.load(path, weights_only=False)


def run_by_gzip(path: Path) -> None:
    with gzip.open(path) as file:
        pickle.load(file)  # noqa: S301


def run_by_bz2(path: Path) -> None:
    with bz2.open(path) as file:
        pickle.load(file)  # noqa: S301


class Mark:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.path),)


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at:][1:]


# Each loads with its own library, so the code in it runs.
ODD: dict[str, tuple[Callable[[Any], bytes], Callable[[Path], None]]] = {
    "torch, and half an end of a zip behind it": (lambda v: saved(v) + b"PK\5\6", run_by_torch),
    "torch, and a short end behind it": (lambda v: saved(v) + b"PK\5\6" + b"x" * 9, run_by_torch),
    "torch, and other bytes behind it": (lambda v: saved(v) + b"x" * 99, run_by_torch),
    "torch, for a future reader": (lambda v: directory_with(saved(v), 6, b"\x63\0"), run_by_torch),
    "torch, by another system": (lambda v: directory_with(saved(v), 4, b"\xff\xff"), run_by_torch),
    "gzip with a wrong checksum": (
        lambda v: _flipped(gzip.compress(pickle.dumps(v)), -8),
        run_by_gzip,
    ),
    "gzip that is cut off": (lambda v: gzip.compress(pickle.dumps(v))[:-6], run_by_gzip),
    "gzip with other bytes behind it": (
        lambda v: gzip.compress(pickle.dumps(v)) + b"other bytes",
        run_by_gzip,
    ),
    "two members of bz2, one damaged": (
        lambda v: bz2.compress(pickle.dumps(v)) + b"BZh9 damaged",
        run_by_bz2,
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_a_library_loads_all_the_same_is_code(tmp_path: Path, name: str) -> None:
    make, load = ODD[name]
    mark = tmp_path / "ran"
    content = make(Mark(mark))
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with suppress(Exception):  # behind the code
        load(path)
    assert mark.is_dir()
    assert searched(tmp_path, content).runs


class Lie:
    """A dtype with a field of Python objects that says it has none."""

    def __init__(self, maker: Any, *arguments: Any) -> None:
        self.maker, self.arguments = maker, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        state = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
        return self.maker, self.arguments, state


ODD_DTYPES = {
    "fields of objects": Lie(np.dtype, "V8", False, True),
    "of a list": Lie(np.dtype, [("a", "O")]),
    "made by copyreg": Lie(copyreg._reconstructor, np.dtype, object, None),  # type: ignore[attr-defined]
    "made by a class of NumPy's": Lie(np.dtypes.VoidDType, 8),
}


@pytest.mark.parametrize("name", ODD_DTYPES)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_dtype_that_lies_about_its_fields_is_code(
    tmp_path: Path, name: str, protocol: int
) -> None:
    content = pickle.dumps(ODD_DTYPES[name], protocol)
    found = searched(tmp_path, content)
    assert any("numpy.dtype" in one for one in found.names)


@pytest.mark.parametrize(
    "dtype",
    ["f4", ">i8", "O", "U7", "S3", "M8[ns]", "m8[D]", "bool", [("a", "f4"), ("b", ">i8", (2, 3))]],
    ids=str,
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_of_numpys_types_are_harmless(tmp_path: Path, dtype: Any, protocol: int) -> None:
    array = np.zeros((2, 2), dtype=dtype)
    assert not searched(tmp_path, pickle.dumps([array, array.dtype], protocol)).runs


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_of_other_methods_cannot_be_searched(tmp_path: Path, method: int) -> None:
    assert searched(tmp_path, zipped({"a": EVIL}, method)).unsearchable


def test_a_zip_with_two_directories_cannot_be_searched(tmp_path: Path) -> None:
    """PyTorch takes the one that the end names, Python the one before the end."""
    evil, plain = zipped({"a": EVIL}, 0), zipped({"a": b"plain"}, 0)
    offset = evil[-6:-2]
    both = evil + plain[:-6] + offset + plain[-2:]
    assert searched(tmp_path, both).unsearchable


@pytest.mark.parametrize("protocol", [1, 2, 3, 5])
def test_names_are_those_of_python_3(tmp_path: Path, protocol: int) -> None:
    found = searched(tmp_path, pickle.dumps(Program(), protocol=protocol))
    assert list(found.names) == ["subprocess.Popen"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x80\x04" + text("builtins") + text("exec.__call__") + b"\x93)R.", "exec.__call__"),
        (b"\x80\x04" + text("types") + text("FunctionType") + b"\x93.", "types.FunctionType"),
        (b"\x80\x02\x82\x07)R.", "copyreg's extension 7"),
        (b"\x80\x02\x84\x07\0\0\0)R.", "copyreg's extension 7"),
        (b"\x80\x04c_codecs\nencode\n" + text("x") + b"\x85R" + text("y") + b"\x93.", "computed"),
        (b"\x80\x02cbuiltins\nset\n)R)R.", "builtins.set returned"),
        (b"\x80\x02cargparse\nNamespace\nN}X\x01\0\0\0aNs\x86b.", "Namespace.__setstate__"),
        (b"\x80\x02c__main__\nNet\n)\x81}b.", "__main__.Net"),
    ],
)
def test_all_that_is_not_known_to_be_harmless_is_named(
    tmp_path: Path, content: bytes, name: str
) -> None:
    assert any(one.endswith(name) for one in searched(tmp_path, content).names)


class WithState:
    def __setstate__(self, state: Any) -> None:
        raise AssertionError("unpickled")


def test_an_object_with_a_state_of_its_own_is_code(tmp_path: Path) -> None:
    one = WithState()
    one.__dict__["a"] = 1
    assert list(searched(tmp_path, pickle.dumps(one)).names) == [f"{__name__}.WithState"]


HARMLESS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a start alone": lambda: b"\x80\x04",
    "no zip": lambda: b"PK\x03\x04 of no archive",
    "no gzip": lambda: b"\x1f\x8b\x00",
    "no zlib": lambda: b"\x78\x9c nothing",
    "all bytes": lambda: bytes(range(256)) * 9,
    "labels": lambda: b"cat\ndog\nbird\n.\n",
    "texts": lambda: pickle.dumps(["posix", "system", "subprocess.Popen"]),
    "tensors": lambda: saved({"a": torch.ones(3), "b": torch.nn.Parameter(torch.ones(2))}),
    "legacy tensors": lambda: saved(
        {"a": torch.ones(30_000)}, _use_new_zipfile_serialization=False
    ),
    "what stands beside them": lambda: saved(
        {
            "args": Namespace(lr=0.1, path=pathlib.PurePosixPath("a/b")),
            "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
            "seen": collections.deque([1]),
            "mean": np.float32(0.5),
            "std": np.arange(3.0),
            "labels": np.array(["a", None], dtype=object),
            "names": collections.OrderedDict(a=frozenset([1])),
            "random": np.random.default_rng(0).bit_generator.state,
        }
    ),
    "a numpy file": lambda: numpy_saved("text", 1.5),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_is_said_of_harmless_files(tmp_path: Path, name: str) -> None:
    assert searched(tmp_path, HARMLESS[name]()) == FoundCode("file")


def test_a_whole_module_is_code(tmp_path: Path) -> None:
    names = searched(tmp_path, saved(torch.nn.Linear(2, 2))).names
    assert list(names) == ["torch.nn.modules.linear.Linear"]


def test_the_place_of_code_is_its_member_and_byte(tmp_path: Path) -> None:
    found = searched(tmp_path, zipped({"a/b.pkl": b"\x80\x02" + SYSTEM + b"."}, 0))
    assert found.names == {"os.system": f"a/b.pkl at byte {2 + len(SYSTEM)}"}


def test_folders_and_tars_are_searched_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x").write_bytes(EVIL)
    (folder / "link").symlink_to(folder / "sub" / "x")
    assert [one.file for one in code_in(folder)] == ["sub/x"]
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tarred("top/x", EVIL)))
    assert [one.file for one in code_in(tmp_path / "a.tar.gz")] == ["top/x"]


# ---- joblib


def joblib_dumped(value: Any) -> bytes:
    joblib = pytest.importorskip("joblib")
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


def test_code_behind_the_raw_arrays_of_joblib_is_found(tmp_path: Path) -> None:
    arrays = {"a": np.arange(1000.0), "b": np.array(["x", None], dtype=object)}
    assert searched(tmp_path, joblib_dumped(arrays)) == FoundCode("file")
    assert "posix.system" in searched(tmp_path, joblib_dumped({**arrays, "c": Attack()})).names


def test_a_pickle_that_only_looks_like_joblibs_is_followed_as_pickle_does(tmp_path: Path) -> None:
    """The array's raw bytes, which joblib passes over, are opcodes for plain pickle."""
    wrapper = b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("
    dtype = b"X\x05\0\0\0dtypecnumpy\ndtype\nX\x02\0\0\0u1\x85R"
    payload = SYSTEM + b"X\x04\0\0\0true\x85R."
    shape = b"X\x05\0\0\0shapeK" + bytes([len(payload)]) + b"\x85"
    assert "os.system" in searched(tmp_path, wrapper + dtype + shape + b"ub" + payload).names


# ---- another Python


@pytest.mark.skipif(sys.version_info[:2] not in ((3, 11), (3, 12)), reason="knows these opcodes")
def test_bytecode_of_another_python_is_named_as_that(tmp_path: Path) -> None:
    maker = b"\x80\x02ccloudpickle.cloudpickle\n_builtin_type\nX\x08\0\0\0CodeType\x85R"
    old = maker + b"(" + b"K\0" * 16 + b"tR."
    assert searched(tmp_path, old).python == "3.8 to 3.10"

    def of(*opcodes: int) -> bytes:
        code = bytes(value for opcode in opcodes for value in (opcode, 0))
        bytecode = b"C" + bytes([len(code)]) + code
        return maker + b"(" + b"K\0" * 6 + bytecode + b"K\0" * 11 + b"tR."

    named = {searched(tmp_path, of(*one)).python for one in ((151, 166), (151, 121), (149, 1))}
    assert named == {"3.11", "3.12", "3.13", ""} - {".".join(map(str, sys.version_info[:2]))}


# ---- what cannot be searched


@pytest.mark.parametrize(
    "content",
    [
        b"\x28\xb5\x2f\xfd zstd",
        b"\x04\x22\x4d\x18 lz4",
        pickle.NONE + pickle.POP + (pickle.NONE + pickle.POP) * 600_000,
    ],
    ids=["zstd", "lz4", "opcodes"],
)
def test_what_cannot_be_searched_is_said(tmp_path: Path, content: bytes) -> None:
    found = searched(tmp_path, content)
    assert found.unsearchable
    assert found.runs


def test_archives_within_each_other_come_to_an_end(tmp_path: Path) -> None:
    content = EVIL
    for _ in range(30):
        content = zipped({"a": content}, 0)
    assert searched(tmp_path, content).unsearchable


BOMBS = {
    "gzip": lambda: gzip.compress(b"\0" * (600 << 20), 1),
    "marks": lambda: b"\x80\x04" + b"(" * 3_000_000,
    "dicts": lambda: b"\x80\x04" + b"}\x94" * 1_500_000,
    "sets": lambda: b"\x80\x04" + pickle.EMPTY_SET * 3_000_000,
    "names": lambda: b"".join(b"c__torch__\na%d\n" % n for n in range(100_000)),
    "an endless line": lambda: b"c" + b"x" * (100 << 20),
    "long bytes": lambda: b"\x80\x04B\xff\xff\xff\x7f" + b"x" * (1 << 20),
    "a number": lambda: b"\x80\x02\x8b" + struct.pack("<i", 20_000_000) + b"\x7f" * 20_000_000,
}


@pytest.mark.processes
@pytest.mark.parametrize("name", BOMBS)
def test_a_search_needs_little_memory(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as archive:
        archive.writestr("file", BOMBS[name]())
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from marsmith.weights.code_search import code_in\n"
        "with open('/proc/self/statm') as file:\n"
        "    size = int(file.read().split()[0]) * resource.getpagesize() + (400 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "code_in(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.mar")]
    assert subprocess.run(command, check=False, timeout=120).returncode == 0


def test_random_values_behind_a_pickle_are_no_code(tmp_path: Path) -> None:
    """They hold two bytes of a pickle's beginning, and an extension's opcode, again and again."""
    values = random.Random(0).randbytes(8 << 20)  # noqa: S311 - no secret
    assert re.search(rb"\x80[\x02-\x05][\x82-\x84]", values)
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"a": 1}, 2) + values)
    assert code_in(tmp_path) == []
