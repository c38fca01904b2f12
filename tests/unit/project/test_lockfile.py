"""marsmith/project/lockfile.py: written and read, and what differs."""

from __future__ import annotations

import pytest

from marsmith.core.errors import ProjectError
from marsmith.project.lockfile import Locked, format_lock, parse_lock
from tests.codes import coded

ARCHIVES = {
    "tiny": Locked("1.0", "ab" * 32, 1234),
    "other.v2": Locked('2 "beta"\\ \n\x7f ü 😀', "cd" * 32, 5),
}


def test_what_is_written_reads_back_sorted() -> None:
    text = format_lock(ARCHIVES)
    assert parse_lock(text).archives == ARCHIVES
    assert text == format_lock(dict(reversed(ARCHIVES.items())))
    assert text.index("other.v2") < text.index("tiny")


def test_the_file_is_a_table_per_archive() -> None:
    assert format_lock({"tiny": ARCHIVES["tiny"]}) == (
        "# Written by `marsmith build --lock`; `marsmith build --locked` builds exactly this.\n\n"
        f'[archives.tiny]\nversion = "1.0"\nsha256 = "{"ab" * 32}"\nsize = 1234\n'
    )


def test_the_locked_archive_is_no_finding() -> None:
    lock = parse_lock(format_lock(ARCHIVES))
    assert all(lock.difference(name, one) is None for name, one in ARCHIVES.items())
    assert lock.unknown(ARCHIVES) == []


@pytest.mark.parametrize(
    "made",
    [
        Locked("1.1", "ab" * 32, 1234),
        Locked("1.0", "00" * 32, 1234),
        Locked("1.0", "ab" * 32, 1235),
    ],
)
def test_another_archive_is_a_finding_with_both_and_the_line(made: Locked) -> None:
    finding = parse_lock(format_lock(ARCHIVES)).difference("tiny", made)
    assert finding is not None
    assert finding.location == "archives.lock:8"
    assert f"version 1.0, 1234 bytes, {'ab' * 32}" in finding.message
    assert f"version {made.version}, {made.size} bytes, {made.sha256}" in finding.message
    assert finding.rule == "lock-differs"
    assert "marsmith build --lock" in finding.hint


def test_an_archive_that_is_not_locked_is_a_finding() -> None:
    finding = parse_lock(format_lock(ARCHIVES)).difference("new", ARCHIVES["tiny"])
    assert finding is not None
    assert finding.rule == "not-locked"


def test_an_archive_that_nothing_describes_is_a_finding_with_its_line() -> None:
    (finding,) = parse_lock(format_lock(ARCHIVES)).unknown(["tiny"])
    assert finding.rule == "lock-unknown"
    assert finding.location == "archives.lock:3"


@pytest.mark.parametrize(
    "text",
    ["", "archives", "archives = 1", "[archives]\na = 1", "[archives.a]\nversion = '1'\n"],
)
def test_what_is_no_lock_is_an_error(text: str) -> None:
    with pytest.raises(ProjectError, check=coded("lock-unreadable")) as caught:
        parse_lock(text)
    assert "marsmith build --lock" in caught.value.hint
