"""marsmith/tune/apply_winner.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.project.spec import parse_spec
from marsmith.tune import apply_winner
from marsmith.tune.space import Configuration
from tests.codes import coded
from tests.unit.tune.made import EAGER, ONE, ONNX

ROOT = Path(__file__).parents[3]


def test_the_winner_is_written_and_comments_stay() -> None:
    text = (ROOT / "archives.toml").read_text().replace("batchSize = 32", "batchSize = 32  # why")
    spec = parse_spec(text).archives["digits"]
    changed = apply_winner.winning_text(text, spec, Configuration(EAGER, 2, 1, 16, 5))
    serving = parse_spec(changed).archives["digits"].serving
    assert (serving["minWorkers"], serving["batchSize"], serving["maxBatchDelay"]) == (2, 16, 5)
    assert "batchSize = 16  # why" in changed
    lines = apply_winner.difference(text, changed)
    assert all(re.match(r"[-+@ ]", line) for line in lines)
    assert len([line for line in lines if line.startswith("-")]) < 8


def test_a_winner_with_files_of_its_own_names_them_in_weights() -> None:
    text = (ROOT / "archives.toml").read_text()
    spec = parse_spec(text).archives["digits"]
    changed = apply_winner.winning_text(text, spec, Configuration(ONNX, 2, 1, 16, 5))
    written = parse_spec(changed).archives["digits"]
    assert written.model_file is None
    assert (written.serialized_file, written.extra_files[-1]) == ("weights/t.xml", "weights/t.bin")
    assert written.handler_config["engine"] == "onnxruntime"


def test_a_spec_that_cannot_be_changed_is_left_alone() -> None:
    text = '[archives]\ntiny = { version = "1", handler = "h.py" }\n'
    spec = parse_spec(text).archives["tiny"]
    with pytest.raises(ProjectError, check=coded("spec-not-editable")):
        apply_winner.winning_text(text, spec, ONE)
