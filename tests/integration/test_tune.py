"""`marsmith tune` with a real TorchServe: the form of what it finds, never how fast that is."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

from PIL import Image

from marsmith.project.project import Project
from marsmith.tune.engine_variants import Calibration, make, variants
from tests.integration.kit import ROOT, Kit, leftovers, wait_for

# Right alone, wrong in company: no batch larger than 1 may win.
LONER = """\
def handle(data, context):
    return ["alone" if data and len(data) == 1 else "crowded" for _ in data or []]
"""
SPEC = """\
[archives.loner]
version = "1.0"
handler = "loner.py:handle"

[archives.loner.serving]
minWorkers = 1  # one
maxWorkers = 1
batchSize = 1

[[archives.loner.samples]]
request = "one.txt"
response = "alone.txt"
"""
EASY = ("--p99", "60s", "--connections", "8")


def measurements(kit: Kit, name: str) -> list[dict[str, Any]]:
    """Return what was remembered."""
    lines = (kit.root / ".marsmith" / "tune" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_winner_is_written_and_proven_and_nothing_is_measured_twice(
    kit: Kit, temporary_folder: Path
) -> None:
    tune = ("tune", "digits", *EASY, "--sample", "seven.png", "--engine", "eager")
    before = (kit.root / "archives.toml").read_text()
    asked = kit(*tune, "--trials", 1, check=False)
    assert "error[not-confirmed]" in asked.stderr or asked.returncode == 0  # nothing to change
    assert re.search(r"[1-9][\d,.]* requests/s, p99 [\d.]+ ms", asked.stdout)  # the winner's
    assert (kit.root / "archives.toml").read_text() == before
    known = len(measurements(kit, "digits"))
    again = kit(*tune, "--trials", 1, "--yes")
    (summary,) = [one for one in again.stdout.splitlines() if "tune/digits.jsonl" in one]
    assert re.match(r"2 .*, 2 ", summary)  # configurations, and how many were measured before
    assert len(measurements(kit, "digits")) == known
    assert (kit.root / ".marsmith" / "tune" / "digits.svg").read_text().startswith("<svg")
    assert re.search(r"[1-9][\d,.]* requests/s, p99 [\d.]+ ms", again.stdout)
    Project(kit.root).specs(("digits",))
    assert leftovers(str(temporary_folder)) == []
    assert list(temporary_folder.iterdir()) == []
    checked, *_ = kit.json("check", "digits")
    assert [one for one in checked["findings"] if one["severity"] == "error"] == []


def test_int8_is_made_where_photos_tell_how_well_it_agrees(kit: Kit, tmp_path: Path) -> None:
    for number in range(4):
        picture = Image.open(ROOT / "samples" / "seven.png").rotate(2 * number)
        picture.save(tmp_path / f"{number}.png")
    project = Project(kit.root)
    (spec,) = project.specs(("digits",))
    calibration = Calibration(tmp_path, agreement=0.5)
    found = variants(project, spec, ("onnxruntime",), calibration)
    (int8,) = [one for one in found if one.dtype == "int8"]
    make(project, spec, int8, calibration)
    assert all((kit.root / file).is_file() for file in int8.files)


def test_what_answers_wrongly_under_load_is_no_candidate(empty: Kit) -> None:
    write_loner(empty)
    result = empty("tune", "loner", *EASY, "--trials", 1, "--yes")
    assert "batchSize = 1\n" in (empty.root / "archives.toml").read_text()
    crowded = [one for one in measurements(empty, "loner") if batch(one) > 1]
    assert crowded
    assert all("crowded" in str(one["failure"]) for one in crowded)
    assert re.search(r"[1-9][\d,.]* requests/s, p99 [\d.]+ ms", result.stdout)


def test_when_it_is_interrupted_nothing_is_left_but_what_was_measured(
    empty: Kit, temporary_folder: Path
) -> None:
    write_loner(empty)
    process = empty.start("tune", "loner", *EASY, "--yes")
    try:
        path = empty.root / ".marsmith" / "tune" / "loner.jsonl"
        wait_for(path.exists, "the first measurement")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert ".marsmith/tune/loner.jsonl" in errors
    assert (empty.root / "archives.toml").read_text() == SPEC
    assert measurements(empty, "loner")
    assert list(temporary_folder.iterdir()) == []


def test_a_goal_that_nothing_keeps_is_told_with_the_least_that_was_seen(empty: Kit) -> None:
    write_loner(empty)
    result = empty("tune", "loner", "--p99", "0.001ms", "--trials", 0, check=False)
    assert result.returncode == 1
    assert "error[goal-missed]" in result.stderr
    assert "0.001 ms" in result.stderr
    assert "--p99" in result.stderr.rpartition("hint: ")[2]
    assert (empty.root / "archives.toml").read_text() == SPEC


def test_an_archive_that_cannot_be_loaded_is_told_with_its_cause(empty: Kit) -> None:
    write_loner(empty)
    empty.write("loner.py", LONER + "\n\nraise RuntimeError('no way')\n")
    result = empty("tune", "loner", *EASY, check=False)
    assert result.returncode == 1
    assert "error[model-not-loaded]" in result.stderr
    assert "no way" in result.stderr  # the handler's own words


def test_what_cannot_be_meant_is_told_before_anything_starts(empty: Kit) -> None:
    write_loner(empty)
    usage = empty("tune", "loner", "--p99", "50", check=False)
    assert usage.returncode == 2
    assert "'--p99': '50'" in usage.stderr
    unknown = empty("tune", "loner", *EASY, "--sample", "two.txt", check=False)
    assert "error[unknown-sample]" in unknown.stderr
    assert "samples/one.txt" in unknown.stderr
    empty.write("archives.toml", SPEC.partition("[[")[0])
    assert "error[no-sample]" in empty("tune", "loner", *EASY, check=False).stderr


def write_loner(kit: Kit) -> None:
    """Write a project with a handler that answers correctly only in batches of one."""
    kit.write("archives.toml", SPEC)
    kit.write("loner.py", LONER)
    kit.write("one.txt", "x")
    kit.write("alone.txt", "alone")


def batch(one: dict[str, Any]) -> int:
    """Return the batch size of a measurement."""
    return int(one["configuration"]["batch_size"])
