"""scripts/train/rotation.py over ten pictures: what it writes, and that it writes it again."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import skimage
import torch
from PIL import Image
from rotation_net import RotationNet

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "train"
PHOTOS = ("astronaut.png", "chelsea.png")  # of scikit-image
pytestmark = pytest.mark.processes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of ten small photos, all parts of two."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for place, name in enumerate(PHOTOS):
        with Image.open(Path(skimage.__file__).parent / "data" / name) as photo:
            for part in range(5):
                left, small = 20 * part, photo.convert("RGB").resize((240, 200))
                small.crop((left, 0, left + 150, 180)).save(folder / f"{place}{part}.jpg")
    return folder


def train(photos: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        sys.executable,
        SCRIPTS / "rotation.py",
        "--images",
        photos,
        "--out",
        out,
    ]
    command += ["--steps", "3", "--threads", "1", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_it_writes_weights_and_card_and_the_same_ones_again(photos: Path, tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        out = tmp_path / name / "rotation.pth"
        done = train(photos, out)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in out.parent.iterdir()) == ["rotation.md", "rotation.pth"]
        written.append((out.read_bytes(), out.with_suffix(".md").read_bytes()))
    assert written[0] == written[1]
    RotationNet().load_state_dict(torch.load(out, weights_only=True))
    assert "| all | 7 | 1 | 2 |" in written[0][1].decode()


def test_a_run_that_was_stopped_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import rotation_head
    import rotation_start

    options = argparse.Namespace(images=[photos], out=tmp_path / "rotation.pth", seed=0)
    pictures = [Image.open(path).convert("RGB") for path in sorted(photos.iterdir())[:2]]
    network = rotation_start.new_model()
    seen = rotation_head.looks_at(network, pictures, options)
    resume = tmp_path / "rotation.pth.resume"
    state = torch.load(resume, weights_only=True)
    state["seen"] = state["seen"][:1]
    state["seen"][0] += 1  # a mark: what was seen is not looked at again
    torch.save(state, resume)
    again = rotation_head.looks_at(network, pictures, options)
    assert torch.equal(again[:, 0], seen[:, 0] + 1)
    assert torch.equal(again[:, 1:], seen[:, 1:])
    options.seed = 1
    with pytest.raises(SystemExit):
        rotation_head.looks_at(network, pictures, options)


def test_too_few_photos_are_refused_before_the_training(photos: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(photos.iterdir())):
        path.rename(photos / f"{'abcde'[number % 5]}-{number}.jpg")
    done = train(photos, tmp_path / "out" / "rotation.pth")
    assert done.returncode == 1
    assert "hint:" in done.stderr
    assert not (tmp_path / "out").exists()
