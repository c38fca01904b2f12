"""marsmith/archive/zip_layout.py: what Java reads in the stream is what the directory lists."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError
from tests.codes import coded
from tests.unit.archive.streams import (
    Member,
    descriptor,
    read_stream,
    streamed,
    write_zip,
)

A = Member(b"a.py", b"first = 1\n" * 9, deflated=True)
B = Member(b"b/c.bin", bytes(range(200)))
S = streamed(b"s.txt", b"streamed " * 50)
HIDDEN = Member(b"a.py", b"second = 2\n")
CONTRADICTION = "archive-contradicts-itself"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.mar"


def read_all(path: Path) -> dict[str, bytes]:
    archive = Archive(path)
    return {name: archive.read(name) for name in archive.names}


def test_an_honest_zip_is_read_as_java_reads_it(path: Path, tmp_path: Path) -> None:
    write_zip(path, [Member(b"b/", b"", mode=0o40755), A, B, S], comment=b"made by hand")
    found = read_all(path)
    assert found == read_stream(path.read_bytes())
    assert found == {"a.py": A.content, "b/c.bin": B.content, "s.txt": S.content}
    Archive(path).unpack(tmp_path / "out")
    assert (tmp_path / "out/b/c.bin").read_bytes() == B.content


@pytest.mark.parametrize("force_zip64", [False, True])
def test_what_python_writes_is_read(path: Path, force_zip64: bool) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("grüße.txt")
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=force_zip64) as file:
            file.write(b"x" * 5000)
    assert read_all(path) == {"grüße.txt": b"x" * 5000} == read_stream(path.read_bytes())


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError

    def tell(self) -> int:
        raise OSError


def test_what_python_streams_is_read(path: Path) -> None:
    output = Unseekable()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "a" * 999)
        archive.writestr("b.txt", "")
    path.write_bytes(output.getvalue())
    assert read_all(path) == {"a.txt": b"a" * 999, "b.txt": b""} == read_stream(output.getvalue())


def test_no_changed_byte_of_a_header_makes_two_readers_differ(path: Path) -> None:
    """Every byte but those of the files is changed: it is refused, or both read the same."""
    original = write_zip(path, [A, B, S]).read_bytes()
    inside = {
        place
        for member in (A, B, S)
        for start in [original.index(member.packed)]
        for place in range(start, start + len(member.packed))
    }
    opened = 0
    for place in set(range(len(original))) - inside:
        for value in {0xFF, original[place] ^ 1, original[place] ^ 8}:
            data = bytearray(original)
            data[place] = value
            path.write_bytes(data)
            try:
                found = read_all(path)
            except ArchiveError:
                continue
            opened += 1
            try:
                assert found == read_stream(bytes(data)), (place, value)
            except ValueError as error:
                raise AssertionError((place, value)) from error
    assert opened > 100  # dates and versions may have any value


Stream = list[Member | bytes]
ZIP64_OF_ANOTHER_SIZE = struct.pack("<HHQQ", 1, 16, 5, 5)
TAIL = Member(b"t.py", b"tail")
CONTRADICTIONS: dict[str, tuple[Stream, list[Member] | None, bytes]] = {
    "hidden at the end": ([A, B, HIDDEN], [A, B], b""),
    "hidden between": ([A, replace(HIDDEN, name=b"x.py"), B], [A, B], b""),
    "hidden before": ([replace(HIDDEN, name=b"x.py"), A], [A], b""),
    "bytes before": ([b"#!/bin/sh\n", A], None, b""),
    "bytes between": ([A, b"gap", B], None, b""),
    "bytes after": ([A, b"gap"], None, b""),
    "listed twice": ([A, B], [A, B, B], b""),
    "overlapping": ([A, B], [A, replace(B, shift=-3)], b""),
    "a hole of the right size": ([A, TAIL], [A, replace(TAIL, shift=4)], b""),
    "not listed": ([A, B], [B], b""),
    "another size": ([A], [replace(A, size=5)], b""),
    "a cut size": ([B], [replace(B, content=B.content[:9], crc=zlib.crc32(B.content[:9]))], b""),
    "another checksum": ([A], [replace(A, crc=5)], b""),
    "another flag": ([A], [replace(A, flags=0)], b""),
    "an unknown flag": ([replace(A, flags=0x0820)], None, b""),
    "stored here, deflated there": ([B], [replace(B, deflated=True)], b""),
    "a size in 64 bits": ([replace(A, extra=ZIP64_OF_ANOTHER_SIZE)], None, b""),
    "fields beyond the end": ([replace(A, extra=b"\x01\x00\xff\x00")], None, b""),
    "a second name": (
        [replace(A, extra=struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"z.py")],
        None,
        b"",
    ),
    "a folder with bytes": ([Member(b"b/", b"#" * 9)], None, b""),
    "a name without encoding": ([replace(A, name=b"\xe9.py", flags=0)], None, b""),
    "streamed without deflate": (
        [Member(b"s", b"abc", flags=0x0808, tail=descriptor(b"abc", 3))],
        None,
        b"",
    ),
    "streamed, and none follows": ([replace(S, tail=b"")], None, b""),
    "streamed, another size": ([replace(S, tail=descriptor(b"other", len(S.packed)))], None, b""),
    "a zip in a comment": ([replace(A, comment=B.local)], None, b""),
    "a zip in the comment": ([A], None, B.local),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_readers_could_read_differently_is_refused(path: Path, name: str) -> None:
    write_zip(path, *CONTRADICTIONS[name])
    with pytest.raises(ArchiveError, check=coded(CONTRADICTION)) as caught:
        Archive(path)
    assert str(path) in caught.value.message


def test_an_entry_behind_the_end_of_a_streamed_one_is_found(path: Path) -> None:
    """The directory calls all of it one entry; Java ends it where its deflate stream ends."""
    inner = S.packed + S.tail + HIDDEN.local
    crc = zlib.crc32(S.content)
    header = replace(S, tail=b"").local.removesuffix(S.packed)
    tail = struct.pack("<4sLLL", b"PK\7\x08", crc, len(inner), len(S.content))
    line = bytearray(S.listed(0))
    struct.pack_into("<L", line, 20, len(inner))
    body = header + inner + tail
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(line), len(body), 0)
    path.write_bytes(body + line + end)
    assert read_stream(path.read_bytes())["a.py"] == HIDDEN.content  # the attack is a real one
    with pytest.raises(ArchiveError):
        Archive(path)


def test_two_ends_are_one_too_many(path: Path) -> None:
    first = write_zip(path, [A]).read_bytes()
    path.write_bytes(first + write_zip(path, [B]).read_bytes())
    with pytest.raises(ArchiveError, check=coded(CONTRADICTION)):
        Archive(path)


@pytest.mark.parametrize("offset", [0, 4, 16, 24, 32, 40, 48, 56 + 8])
def test_a_zip64_end_that_differs_is_refused(path: Path, offset: int) -> None:
    data = write_zip(path, [A]).read_bytes()
    place = len(data) - 22
    size, start = struct.unpack_from("<LL", data, place + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, start)
    both = bytearray(record + struct.pack("<4sLQL", b"PK\6\7", 0, place, 1))
    path.write_bytes(data[:place] + both + data[place:])
    assert read_all(path) == {"a.py": A.content}
    both[offset] ^= 2
    path.write_bytes(data[:place] + both + data[place:])
    with pytest.raises(ArchiveError, check=coded(CONTRADICTION)):
        Archive(path)


ENCRYPTED = replace(A, flags=0x0801)


def test_an_encrypted_entry_is_refused_before_it_is_read(path: Path) -> None:
    write_zip(path, [B, ENCRYPTED])
    with pytest.raises(ArchiveError, check=coded("archive-compression")):
        Archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_java_lacks_is_refused(path: Path, method: int) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a", "b" * 99)
    with pytest.raises(ArchiveError, check=coded("archive-compression")):
        Archive(path)


NAMES: dict[str, list[tuple[bytes, ...]]] = {
    "duplicate-entry": [
        (b"model.py", b"Model.py"),
        ("é.py".encode(), "e\u0301.py".encode()),
        ("ﬁt.py".encode(), b"fit.py"),
        ("straße".encode(), b"STRASSE"),
        (b"a", b"a/b"),
        (b"A/b", b"a"),
        (b"a/b/c", b"a/b"),
    ],
    "entry-name": [
        *[(b"a//b",), (b"./a",), (b"a/./b",), (b"a\\b",), (b"a\x1b[2J",), (b"",), (b"a\n",)],
        *[(b"a\0.py",), (b"n" * 256,), (b"d/" * 600 + b"x",)],
    ],
    "path-escapes": [
        *[(b"a/../../b",), (b"..",), (b"a\\..\\..\\b",)],
        *[("\uff0e\uff0e/x".encode(),), ("\u2025/x".encode(),)],
    ],
    "absolute-path": [(b"/etc/x",), (b"\\\\host\\x",), (b"C:/x",), (b"c:x",)],
}


@pytest.mark.parametrize("names", [(code, names) for code, all_ in NAMES.items() for names in all_])
def test_a_name_that_has_no_place_of_its_own_is_refused(
    path: Path, names: tuple[str, tuple[bytes, ...]]
) -> None:
    write_zip(path, [Member(name, b"x") for name in names[1]])
    with pytest.raises(ArchiveError, check=coded(names[0])):
        Archive(path)


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o020644, 0o060644, 0o140644])
def test_what_is_no_file_is_refused(path: Path, mode: int) -> None:
    write_zip(path, [Member(b"a", b"b", mode=mode)])
    with pytest.raises(ArchiveError, check=coded("link")):
        Archive(path)


def many_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_001):
            archive.writestr(f"{number}", b"")


def large_manifest(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MAR-INF/MANIFEST.json", b'{"model": "' + b" " * (30 << 20) + b'"}')


def deep_manifest(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "[" * 500_000)


def large_when_unpacked(path: Path) -> None:
    write_zip(path, [A, replace(A, name=b"zeros", size=1 << 30)])


BOUNDS: dict[str, Callable[[Path], None]] = {
    "too-many-entries": many_entries,
    "manifest-unreadable": large_manifest,
    "manifest-unreadable ": deep_manifest,
    "zip-bomb": large_when_unpacked,
}


@pytest.mark.parametrize("code", BOUNDS)
def test_what_is_too_much_is_refused_at_once(path: Path, code: str) -> None:
    BOUNDS[code](path)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ArchiveError, check=coded(code.strip())):
        _ = Archive(path).manifest
    taken, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20
    assert taken < 2
