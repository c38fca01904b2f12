"""marsmith/check/file_kinds.py: weights by their content, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.check.file_kinds import kind_by_content, something_else
from tests.unit.conftest import SavedByTorch


@pytest.mark.parametrize(
    ("field", "ending"),
    [
        ("state_dict_zip", ".pth"),
        ("state_dict_legacy", ".pth"),
        ("module_zip", ".pth"),
        ("torchscript", ".pt"),
    ],
)
def test_what_torch_saves_is_known(
    tmp_path: Path, saved: SavedByTorch, field: str, ending: str
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(getattr(saved, field))
    assert kind_by_content(path) == ending
    assert something_else(path) is None


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02"])
def test_what_is_none_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert kind_by_content(path) is None


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n <!DOCTYPE html>\n<title>404</title>", ""),
        (b"<HTML>", ""),
    ],
)
def test_what_git_or_a_browser_left_in_its_place(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    found = something_else(path)
    assert found
    assert word in found[1]
