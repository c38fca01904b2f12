"""marsmith/check/stored_weights.py: weights that are too much to read are a finding."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from marsmith.check.checking import check
from marsmith.check.targets import Target
from marsmith.core.findings import Severity

# Lists that hold one list twice, again and again: few bytes, and more values than can be counted.
GROWN = b"\x80\x04]\x94" + b"(h\0h\0e" * 20 + b"]\x94" + b"".join(
    b"(h" + bytes([n]) + b"h" + bytes([n]) + b"e]\x94" for n in range(1, 60)
) + b"(h\x3ch\x3ce."  # fmt: skip


@pytest.mark.processes
def test_weights_of_too_many_values_are_a_finding(tmp_path: Path) -> None:
    weights = io.BytesIO()
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("w/data.pkl", GROWN)
        archive.writestr("w/version", "3")
    model = {"modelName": "own", "modelVersion": "1.0", "handler": "own.py"}
    manifest = {"runtime": "python", "model": model | {"serializedFile": "w.pth"}}
    with zipfile.ZipFile(tmp_path / "own.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("own.py", "def handle(data, context):\n    return ['']\n")
        archive.writestr("w.pth", weights.getvalue())
    findings = check(Target("own", tmp_path / "own.mar"), timeout=30).findings
    errors = [one.rule for one in findings if one.severity is Severity.ERROR]
    assert "weights-too-many-values" in errors
