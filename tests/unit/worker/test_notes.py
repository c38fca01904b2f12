"""marsmith/worker/notes.py: the archive's code can write there, so nothing of it is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marsmith.torchserve.answer_faults import Returned
from marsmith.worker.notes import Notes, read_notes

RETURNED = {
    "requests": 2,
    "type": "list",
    "count": 2,
    "shape": [1, 3],
    "place": "[0]",
    "value": "set",
}
WHOLE = {
    "network": ["a.example:443"],
    "writes": ["/etc/hosts"],
    "calls": [{"batch": 1}],
    "loose": [{"missing": ["a"], "unexpected": []}],
    "returned": RETURNED,
}


def written(folder: Path, *lines: object, end: str = "\n") -> Path:
    path = folder / "notes.json"
    path.write_text("\n".join(json.dumps(line) for line in lines) + end)
    return path


def test_the_last_whole_line_counts(tmp_path: Path) -> None:
    path = written(tmp_path, {**WHOLE, "network": ["before.example:80"]}, WHOLE)
    path.write_text(path.read_text() + '{"network": ["cut o')
    notes = read_notes(path)
    assert notes.network == ["a.example:443"]
    assert notes.writes == ["/etc/hosts"]
    assert notes.calls == [{"batch": 1}]
    assert notes.loose == [{"missing": ["a"], "unexpected": []}]
    assert notes.returned == Returned(2, "list", 2, (1, 3), "[0]", "set")


def test_what_can_be_sent_has_no_note(tmp_path: Path) -> None:
    assert read_notes(written(tmp_path, {**WHOLE, "returned": None})).returned is None


@pytest.mark.parametrize(
    "changed",
    [
        {"network": None},
        {"writes": None},
        {"calls": [1]},
        {"loose": [{"missing": ["a"]}]},
        {"loose": [["a", "b"]]},
        {"returned": {**RETURNED, "count": "many"}},
        {"returned": {**RETURNED, "shape": 7}},
        {"returned": []},
        {"returned": {}},
    ],
    ids=str,
)
def test_notes_of_another_form_are_none(tmp_path: Path, changed: dict[str, object]) -> None:
    assert read_notes(written(tmp_path, {**WHOLE, **changed})) == Notes()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\n", b"[" * 100_000 + b"\n", b"{}\n"])
def test_a_file_that_is_none_has_no_notes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.json"
    path.write_bytes(content)
    assert read_notes(path) == Notes()
    assert read_notes(tmp_path / "missing") == Notes()


def test_of_a_flood_only_the_end_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, {**WHOLE, "calls": [{"x": "y" * (5 << 20)}]}, WHOLE)
    assert read_notes(path).calls == [{"batch": 1}]
    assert read_notes(written(tmp_path, {**WHOLE, "calls": [{"x": "y" * (5 << 20)}]})) == Notes()
