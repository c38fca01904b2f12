"""`marsmith sample`, with the real archives."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from tests.integration.kit import ROOT, Kit
from tests.projects import HANDLER, copy_project, make_project, minimal_spec, run_marsmith


def test_an_answer_is_recorded_and_packed_and_proves_the_archive(kit: Kit) -> None:
    image = Image.open(ROOT / "samples" / "seven.png").rotate(5)
    image.save(kit.root / "turned.png")
    refused = kit("sample", "digits", kit.root / "turned.png", check=False)
    assert refused.returncode == 1
    assert "error[not-confirmed]" in refused.stderr
    assert "turned.png" not in (kit.root / "archives.toml").read_text()
    result = kit("sample", "digits", kit.root / "turned.png", "--tolerance", "0.1", "--yes")
    assert re.search(r"\b1 .*\bdigits$", result.stdout.splitlines()[-1])
    assert "tolerance = 0.1" in (kit.root / "archives.toml").read_text()
    checked, *_ = kit.json("check", kit.root / "model_store" / "digits.mar")
    assert checked["findings"] == []
    spec = (kit.root / "archives.toml").read_text()
    kit("sample", "digits", kit.root / "turned.png", "--yes")
    assert (kit.root / "archives.toml").read_text() == spec


def test_what_is_refused_is_no_sample(kit: Kit) -> None:
    before = (kit.root / "archives.toml").read_text()
    result = kit("sample", "digits", kit.root / "archives.toml", "--yes", check=False)
    assert result.returncode == 1
    assert "error[sample-refused]" in result.stderr
    assert (kit.root / "archives.toml").read_text() == before


def test_a_failure_while_recording_has_the_traceback_of_the_users_files(tmp_path: Path) -> None:
    handler = HANDLER.replace("return [len(row) for row in data]", "return helper.answer(data)")
    files = {
        "handlers/h.py": f"import helper\n{handler}",
        "handlers/helper.py": "def answer(data):\n    return [1 / 0]\n",
        "request": "x",
    }
    project = make_project(tmp_path, files, minimal_spec(handler="handlers/h.py"))
    result = run_marsmith("--project", project.root, "sample", "tiny", project.root / "request")
    assert result.returncode == 1
    assert "error[sample-refused]" in result.stderr
    assert 'handlers/helper.py", line 2' in result.stderr
    assert "ZeroDivisionError" in result.stderr


def test_pictures_are_shown_on_a_sheet(tmp_path: Path) -> None:
    kit = copy_project(tmp_path, only_digits=False)
    result = kit("sample", "line-art", kit.root / "samples" / "rocket.jpg", "--yes")
    sheet = kit.root / ".marsmith" / "samples" / "line-art.png"
    assert str(sheet) in result.stdout
    assert size_of(sheet) == (960, 344)
    samples = kit.root / "samples"
    assert size_of(samples / "rocket-line-art.jpg") == size_of(samples / "rocket.jpg")


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
