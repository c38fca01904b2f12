"""`marsmith check` and `marsmith run` as they are typed; tests/defects/ has what they find."""

from __future__ import annotations

import csv
import json
import signal
import tempfile
from pathlib import Path

import pytest

from marsmith.check.targets import targets
from tests.integration.kit import ROOT, Kit, leftovers, wait_for


def test_the_repositorys_digits_are_sound(kit: Kit) -> None:
    result = kit("check")
    assert result.stdout.startswith("digits: ")
    assert result.stderr == ""
    digits, config = kit.json("check", kit.root)
    assert digits["name"] == "digits"
    assert digits["findings"] == config["findings"] == []
    assert digits["seconds"].keys() == {"load", "answer"}


def test_errors_are_told_with_their_place_and_a_stale_archive_is_built_anew(kit: Kit) -> None:
    kit("build")
    handler = kit.root / "handlers" / "digit_classifier.py"
    handler.write_text(handler.read_text() + "\n# changed\n")
    result = kit("check", "digits", check=False)
    assert result.returncode == 1
    assert "handlers/digit_classifier.py: error[stale]: " in result.stderr
    assert "marsmith build digits" in result.stderr
    (finding,) = json.loads(kit("check", "--json", check=False).stdout)[0]["findings"]
    assert finding["rule"] == "stale"
    assert finding["file"] == "handlers/digit_classifier.py"
    assert "error[" not in kit("check", "digits", "--fix").stderr
    assert kit("check", kit.root / "model_store").stderr == ""


def test_warnings_count_if_strict(kit: Kit) -> None:
    with (kit.root / "config.properties").open("a") as file:
        file.write("\nbatch_size=4\n")
    assert "warning[config-ignored]: " in kit("check", "digits").stderr
    assert kit("check", "digits", "--strict", check=False).returncode == 1


@pytest.mark.parametrize(
    ("target", "code"), [("digitz", "unknown-archive"), ("samples", "target-missing")]
)
def test_what_is_no_archive_is_said(kit: Kit, target: str, code: str) -> None:
    path = kit.root / target
    result = kit("check", path if path.exists() else target, check=False)
    assert result.returncode == 1
    assert f"error[{code}]" in result.stderr
    assert "hint: " in result.stderr


def test_a_file_that_is_not_there_is_said(kit: Kit) -> None:
    result = kit("check", "nothing.mar", check=False)
    assert result.stderr.startswith("error[target-missing]: ")
    assert "nothing.mar" in result.stderr


def test_unpacked_archives_of_a_model_store_are_found(tmp_path: Path) -> None:
    for name in ("one/MAR-INF", "two/MAR-INF", "three"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "packed.mar").touch()
    found = targets((str(tmp_path),), lambda: pytest.fail("no project is asked for"))
    assert [target.name for target in found] == ["one", "packed", "two"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interruption_leaves_nothing(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    kit("build")
    with tempfile.TemporaryDirectory(prefix="check") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        process = kit.start("check", "digits")
        wait_for(lambda: len(leftovers(folder)) > 0, "a worker")
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert leftovers(folder) == []
        assert list(Path(folder).iterdir()) == []


def test_run_answers_files_and_folders_in_every_form(kit: Kit, tmp_path: Path) -> None:
    kit("build")
    samples, mar = ROOT / "samples", kit.root / "model_store" / "digits.mar"
    result = kit("run", "digits", samples / "seven.png", samples / "three-photo.jpg")
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == ["7", "3"]
    pictures = tmp_path / "pictures"
    (pictures / "inner").mkdir(parents=True)
    for name in ("a.png", "a.gif", "inner/b.png", ".hidden"):
        (pictures / name).write_bytes((samples / "seven.png").read_bytes())
    rows = kit.json("run", mar, pictures)
    assert [row["input"] for row in rows] == ["a.gif", "a.png", "inner/b.png"]
    assert {row["answer"]["label"] for row in rows} == {"7"}
    kit("run", mar, pictures, "--out", tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open() as file:
        assert [(row["input"], row["label"]) for row in csv.DictReader(file)] == [
            ("a.gif", "7"),
            ("a.png", "7"),
            ("inner/b.png", "7"),
        ]
    kit("run", mar, pictures, "--out", tmp_path / "answers.jsonl")
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["answer"]["label"] for line in lines] == ["7", "7", "7"]
    kit("run", mar, pictures, "--out", tmp_path / "answers", "--accept", "text/plain")
    written = {
        str(p.relative_to(tmp_path / "answers")) for p in (tmp_path / "answers").rglob("*.*")
    }
    assert written == {"a.gif.txt", "a.png.txt", "inner/b.txt"}


def test_run_says_what_is_refused(kit: Kit) -> None:
    kit("build")
    result = kit("run", "digits", ROOT / "README.md", check=False)
    assert result.returncode == 1
    assert " 400: " in result.stdout.splitlines()[-1]
