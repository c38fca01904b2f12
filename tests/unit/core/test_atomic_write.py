"""A file is written completely or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from marsmith.core.atomic_write import naming, replacing


def test_a_file_for_which_there_is_no_room_is_named_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(OSError) as raised, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_full_device_is_named() -> None:
    with pytest.raises(OSError) as raised, naming(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"x" * 100_000)
    assert raised.value.filename == "/dev/full"
