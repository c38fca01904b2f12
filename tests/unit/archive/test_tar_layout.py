"""marsmith/archive/tar_layout.py."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError
from tests.codes import coded

LONG = "d/" * 40 + "x" * 90
FILES = {"a.py": b"a = 1\n", "in/b.bin": bytes(600), LONG: b"long"}
Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.tar.gz"


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
    info.mtime = 0.5  # needs a PAX header
    return info, content


def write_tar(members: list[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return output.getvalue()


def honest(top: str = "m") -> list[Member]:
    folders = [member(f"{top}/in", kind=tarfile.DIRTYPE)]
    return folders + [member(f"{top}/{name}", content) for name, content in FILES.items()]


@pytest.mark.parametrize("top", ["m", "."])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_an_honest_tar_is_read(path: Path, tmp_path: Path, top: str, form: int) -> None:
    path.write_bytes(gzip.compress(write_tar(honest(top), form)))
    archive = Archive(path)
    assert {name: archive.read(name) for name in archive.names} == FILES
    archive.unpack(tmp_path / "out")
    assert (tmp_path / "out" / LONG).read_bytes() == b"long"


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_what_tar_itself_writes_is_read(path: Path, tmp_path: Path) -> None:
    folder_of_files = tmp_path / "m"
    for name, content in FILES.items():
        (folder_of_files / name).parent.mkdir(parents=True, exist_ok=True)
        (folder_of_files / name).write_bytes(content)
    for folder, place in ((tmp_path, "m"), (folder_of_files, ".")):
        subprocess.run(["tar", "czf", path, "-C", folder, place], check=True)
        archive = Archive(path)
        assert {name: archive.read(name) for name in archive.names} == FILES


def _sized_folder(data: bytes) -> bytes:
    """Give the folder the size of the file behind it: Java skips that, tarfile reads it."""
    place = data.index(b"m/in")
    header = bytearray(data[place : place + 512])
    header[124:136] = b"%011o\0" % 512
    return data[:place] + _summed(header) + data[place + 512 :]


def _summed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _old_prefix(data: bytes) -> bytes:
    """Give a GNU header a prefix, which tarfile puts before the name and Java does not."""
    place = data.index(b"m/a.py")
    header = bytearray(data[place : place + 512])
    header[257:265] = b"ustar  \0"
    header[345:350] = b"other"
    return data[:place] + _summed(header) + data[place + 512 :]


def _two_names(data: bytes) -> bytes:
    """Put one more PAX header before a file that has one."""
    extra = write_tar([member("m/" + "y" * 120, b"")], tarfile.PAX_FORMAT)
    place = data.index(b"PaxHeader")
    place -= place % 512
    return data[:place] + extra[:1024] + data[place:]


EXTRA = write_tar([member("m/a.py", b"other")])
CONTRADICTIONS: dict[str, Callable[[bytes], bytes]] = {
    "a second tar": lambda data: gzip.compress(data + EXTRA),
    "a second gzip": lambda data: gzip.compress(data) + gzip.compress(EXTRA),
    "bytes after the gzip": lambda data: gzip.compress(data) + b"\0",
    "bytes after the end": lambda data: gzip.compress(data + b"hidden"),
    "much padding": lambda data: gzip.compress(data + bytes(2 << 20)),
    "a folder with a size": lambda data: gzip.compress(_sized_folder(data)),
    "a prefix in a GNU header": lambda data: gzip.compress(_old_prefix(data)),
    "two long names": lambda data: gzip.compress(_two_names(data)),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_readers_could_read_differently_is_refused(path: Path, name: str) -> None:
    path.write_bytes(CONTRADICTIONS[name](write_tar(honest())))
    with pytest.raises(ArchiveError, check=coded("archive-contradicts-itself")):
        Archive(path)


@pytest.mark.parametrize("key", ["size", "GNU.sparse.name", "GNU.sparse.realsize", "hdrcharset"])
def test_a_pax_key_that_changes_a_file_is_refused(path: Path, key: str) -> None:
    info, content = member("m/a.py", b"12345")
    info.pax_headers = {key: "5"}
    path.write_bytes(gzip.compress(write_tar([(info, content)])))
    with pytest.raises(ArchiveError):
        Archive(path)


def test_a_header_that_is_large_is_refused(path: Path) -> None:
    info, content = member("m/a.py", b"12345")
    info.pax_headers = {"comment": "x" * (3 << 20)}
    path.write_bytes(gzip.compress(write_tar([(info, content)])))
    with pytest.raises(ArchiveError, check=coded("archive-damaged")):
        Archive(path)


REFUSED: dict[str, tuple[str, list[Member]]] = {
    "two tops": ("archive-contradicts-itself", [member("other/a.py")]),
    "no top": ("archive-contradicts-itself", [member("a.py")]),
    "a symbolic link": ("link", [member("m/l", kind=tarfile.SYMTYPE)]),
    "a hard link": ("link", [member("m/l", kind=tarfile.LNKTYPE)]),
    "a device": ("link", [member("m/l", kind=tarfile.CHRTYPE)]),
    "a named pipe": ("link", [member("m/l", kind=tarfile.FIFOTYPE)]),
    "a kind nobody knows": ("link", [member("m/l", kind=b"V")]),
    "a duplicate": ("duplicate-entry", [member("m/a.py", b"b")]),
    "another case": ("duplicate-entry", [member("m/A.py", b"b")]),
    "a file as folder": ("duplicate-entry", [member("m/a.py/x", b"b")]),
    "two slashes": ("absolute-path", [member("m//a.py", b"b")]),
    "out of it": ("path-escapes", [member("m/../../x", b"b")]),
    "many": ("too-many-entries", [member(f"m/{number}") for number in range(20_001)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_member_that_is_unsafe_is_refused(path: Path, name: str) -> None:
    code, members = REFUSED[name]
    form = tarfile.USTAR_FORMAT if name == "many" else tarfile.PAX_FORMAT
    given = [*([] if name == "many" else honest()), *members]
    if name == "many":
        for info, _ in given:
            info.mtime = 0
    path.write_bytes(gzip.compress(write_tar(given, form), 1))
    with pytest.raises(ArchiveError, check=coded(code)):
        Archive(path)


def test_a_bomb_is_refused_while_it_is_unpacked(path: Path) -> None:
    data = gzip.compress(write_tar(honest()) + bytes(210 << 20), 1)
    path.write_bytes(data)
    with pytest.raises(ArchiveError, check=coded("zip-bomb")):
        Archive(path)


@pytest.mark.parametrize("mode", ["w", "w:bz2", "w:xz"])
def test_a_tar_that_torchserve_cannot_read_is_no_archive(path: Path, mode: str) -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, content in honest():
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ArchiveError, check=coded("archive-damaged")):
        Archive(path)


@pytest.mark.parametrize("kind", ["link", "link to a folder", "pipe", "link in a folder"])
def test_a_folder_is_not_left_by_a_link(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "m"
    (folder / "in").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    if kind == "pipe":
        os.mkfifo(folder / "x")
    else:
        place = folder / "in/x" if kind == "link in a folder" else folder / "x"
        place.symlink_to(tmp_path if kind == "link to a folder" else tmp_path / "secret")
    with pytest.raises(ArchiveError, check=coded("link")):
        Archive(folder)


def test_a_folder_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "m/in").mkdir(parents=True)
    (tmp_path / "m/in/a").write_text("a")
    archive = Archive(tmp_path / "m")
    (tmp_path / "m/in").rename(tmp_path / "away")
    (tmp_path / "m/in").symlink_to(tmp_path / "away")
    with pytest.raises(ArchiveError):
        archive.read("in/a")


def test_an_archive_that_is_replaced_stays_what_it_was(path: Path, tmp_path: Path) -> None:
    path.write_bytes(gzip.compress(write_tar(honest())))
    archive = Archive(path)
    digest = Archive(path).digest
    (tmp_path / "new").write_bytes(gzip.compress(EXTRA))
    (tmp_path / "new").replace(path)
    assert archive.read("a.py") == b"a = 1\n"
    assert archive.digest == digest != Archive(path).digest
