"""marsmith/weights/stored.py. Files are written by PyTorch itself (conftest.py: saved)."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

from marsmith.weights.stored import problem
from tests.unit.conftest import SavedByTorch


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


@pytest.mark.parametrize("name", ["state_dict_zip", "state_dict_legacy", "torchscript"])
def test_sound_files_have_no_problem(weights: Path, saved: SavedByTorch, name: str) -> None:
    weights.write_bytes(getattr(saved, name))
    assert problem(weights) is None


@pytest.mark.parametrize("name", ["state_dict_zip_protocol_4", "state_dict_legacy_protocol_4"])
def test_a_state_dict_of_a_newer_pickle_protocol_has_no_problem(
    weights: Path, saved: SavedByTorch, name: str
) -> None:
    """Protocol 4 has frames, and takes names from its memo: not always the last two strings."""
    weights.write_bytes(getattr(saved, name))
    assert problem(weights) is None


@pytest.mark.parametrize("name", ["module_zip", "module_legacy"])
def test_a_whole_module_is_named_by_its_classes(
    weights: Path, saved: SavedByTorch, name: str
) -> None:
    weights.write_bytes(getattr(saved, name))
    found = problem(weights)
    assert found is not None
    assert "more than tensors" in found[0]
    assert "torch.nn.modules.linear.Linear" in found[0]
    assert "state_dict" in found[1]


def test_nothing_in_a_file_is_executed(tmp_path: Path, weights: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "executed",)

    parts: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {}, OrderedDict(a=Trap()), [])
    weights.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    found = problem(weights)
    assert found is not None
    assert "pathlib" in found[0]
    assert not (tmp_path / "executed").exists()


def test_an_empty_file_is_reported(weights: Path) -> None:
    weights.touch()
    found = problem(weights)
    assert found is not None
    assert "empty" in found[0]


@pytest.mark.parametrize("kept", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_zip_cut_off_anywhere_is_damaged(weights: Path, saved: SavedByTorch, kept: float) -> None:
    whole = saved.state_dict_zip
    weights.write_bytes(whole[: int(kept * len(whole))])
    found = problem(weights)
    assert found is not None
    assert "cut off or damaged" in found[0]


@pytest.mark.parametrize("kept", [0.01, 0.2, 0.5, 0.7])
def test_a_legacy_file_cut_off_in_its_pickles_is_damaged(
    weights: Path, saved: SavedByTorch, kept: float
) -> None:
    whole = saved.state_dict_legacy
    weights.write_bytes(whole[: int(kept * len(whole))])
    assert problem(weights) is not None


@pytest.mark.parametrize(
    "content",
    [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"<!DOCTYPE html>"],
    ids=["a git-lfs pointer", "a web page"],
)
def test_a_text_in_place_of_weights_is_reported(weights: Path, content: bytes) -> None:
    weights.write_bytes(content)
    assert problem(weights) is not None
