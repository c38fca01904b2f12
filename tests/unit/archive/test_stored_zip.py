"""marsmith/archive/stored_zip.py."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from marsmith.archive import stored_zip
from marsmith.archive.stored_zip import Content, write_stored_zip


class SmallLimit(int):
    """A limit that is written as its own value but already reached by `reached`.

    So a small zip becomes, byte for byte, what a huge one would be.
    """

    reached: int

    def __new__(cls, value: int, reached: int) -> SmallLimit:
        limit = super().__new__(cls, value)
        limit.reached = reached
        return limit

    def __le__(self, other: int) -> bool:
        return other >= self.reached

    def __lt__(self, other: int) -> bool:
        return other >= self.reached


def write(path: Path, entries: dict[str, Content]) -> str:
    with path.open("wb") as file:
        return write_stored_zip(file, entries)


def read(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.zip"


def test_bytes_and_files_read_back_in_order_of_their_names(target: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    write(target, {"z": b"last", "b/c": source, "a": b"", "grüße": b"utf-8"})
    assert list(read(target).items()) == [
        ("a", b""),
        ("b/c", b"from a file"),
        ("grüße", b"utf-8"),
        ("z", b"last"),
    ]


def test_an_empty_file_becomes_an_empty_entry(target: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    write(target, {"empty": tmp_path / "empty"})
    assert read(target) == {"empty": b""}


def test_no_entries_make_an_empty_zip(target: Path) -> None:
    write(target, {})
    assert read(target) == {}


def test_the_returned_digest_is_that_of_the_file(target: Path) -> None:
    digest = write(target, {"a": b"x" * 1000, "b": b"y"})
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()


def test_a_file_larger_than_one_chunk_reads_back(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_zip, "_CHUNK", 1000)
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 10)
    digest = write(target, {"a": source})
    assert read(target) == {"a": source.read_bytes()}
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()


def test_every_entry_is_stored_with_one_date_and_one_mode(target: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    source.chmod(0o700)
    write(target, {"a": source, "b": b"y"})
    with zipfile.ZipFile(target) as archive:
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == 0o100644
            assert info.create_system == 3


def test_the_order_in_which_entries_are_given_does_not_matter() -> None:
    one, other = io.BytesIO(), io.BytesIO()
    assert write_stored_zip(one, {"a": b"1", "b": b"2"}) == write_stored_zip(
        other, {"b": b"2", "a": b"1"}
    )
    assert one.getvalue() == other.getvalue()


def test_no_zip64_fields_are_written_where_none_are_needed(target: Path) -> None:
    write(target, {"a": b"x" * 1000})
    data = target.read_bytes()
    assert b"PK\x06\x06" not in data
    with zipfile.ZipFile(target) as archive:
        assert archive.getinfo("a").extra == b""


def test_sizes_and_offsets_beyond_32_bits_go_into_zip64_fields(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_zip, "_MAX32", SmallLimit(0xFFFFFFFF, 100))
    entries: dict[str, Content] = {"a": b"x" * 50, "b": b"y" * 200, "c": b"z", "d": b"w" * 100}
    digest = write(target, entries)
    assert read(target) == entries
    assert b"PK\x06\x06" in target.read_bytes()
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    with zipfile.ZipFile(target) as archive:
        lengths = {info.filename: len(info.extra) for info in archive.infolist()}
    # 4 bytes of header and 8 for each value: sizes (twice the same) and the offset.
    assert lengths == {"a": 0, "b": 4 + 16, "c": 4 + 8, "d": 4 + 24}


def test_more_entries_than_16_bits_count_go_into_a_zip64_record(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_zip, "_MAX16", SmallLimit(0xFFFF, 3))
    entries: dict[str, Content] = {name: name.encode() for name in "abcde"}
    write(target, entries)
    assert read(target) == entries
    end = target.read_bytes()[-22:]
    assert end[8:12] == b"\xff\xff\xff\xff"


def test_a_missing_file_is_an_error(target: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(target, {"a": tmp_path / "nothing"})
