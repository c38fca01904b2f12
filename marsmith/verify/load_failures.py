"""Why an archive's model cannot be loaded: the exception, and what its weights say of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from marsmith.environment import clean_environment
from marsmith.errors import WorkerError
from marsmith.findings import Finding
from marsmith.processes import end_children_of, end_group
from marsmith.runtime import Runtime
from marsmith.verify.subject import Subject

_CHILD = Path(__file__).parents[1] / "children" / "compare_weights.py"
_SHOWN = 4  # names of a long list
_PATIENCE = 20  # seconds for a model that was built before to be built again


def explain_load(subject: Subject, error: WorkerError, run: Runtime) -> Finding:
    """Return the one finding that names the true cause."""
    failure = run.failed or Finding(error.message, error.hint)
    if "network" in failure.message and run.refused:
        where = ", ".join(dict.fromkeys(run.refused))
        message = f"it wants to download when it is loaded: {where}"
        hint = "build the model without pretrained weights, and ship what it needs in the archive"
        return subject.finding("download", message, hint, failure.file, failure.line)
    if "loading state_dict" in failure.message and (found := _compare(subject)):
        return found
    return subject.finding(
        "load", f"it cannot be loaded: {failure.message}", error.hint, failure.file, failure.line
    )


def _compare(subject: Subject) -> Finding | None:
    """Hold the weights against the model, if the archive has both by name."""
    manifest = subject.manifest
    if not manifest.model_file or not manifest.serialized_file:
        return None
    with tempfile.TemporaryDirectory(prefix="marsmith-compare-") as folder:
        model = Path(folder) / "model"
        model.mkdir()
        subject.archive.unpack(model)
        output = Path(folder) / "differences.json"
        command = [sys.executable, _CHILD, manifest.model_file, manifest.serialized_file, output]
        _run_alone([str(part) for part in command], model)
        text = output.read_text() if output.exists() else ""
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    if "error" in found or not any(found.values()):
        return None
    message = f"the weights do not fit the model: {_short_difference(found)}"
    return subject.finding("weights-keys", message, _cause(found), manifest.serialized_file)


def _run_alone(command: list[str], folder: Path) -> None:
    """Run a command as a worker is run, below `folder`'s parent; whatever it starts is ended."""
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=folder,
        env=clean_environment({}, folder.parent),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        pass  # what it would have said is not needed
    finally:
        end_group(process.pid, patience=0.5)
        process.wait()
        end_children_of(folder.parent)


def _short_difference(found: dict[str, Any]) -> str:
    parts = []
    for kind in ("missing", "unexpected"):
        if names := found[kind]:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{kind} {', '.join(names[:_SHOWN])}{more}")
    for name, (expected, given) in list(found["shapes"].items())[:_SHOWN]:
        parts.append(f"{name} is {_shape(given)}, the model's {_shape(expected)}")
    return "; ".join(parts)


def _shape(sizes: list[int]) -> str:
    return " x ".join(map(str, sizes)) or "one value"


def _cause(found: dict[str, Any]) -> str:
    """Return the likely cause of a difference, and what helps."""
    missing, unexpected, shapes = found["missing"], found["unexpected"], found["shapes"]
    if unexpected:
        prefixes = Counter(name.partition(".")[0] for name in unexpected)
        prefix = prefixes.most_common(1)[0][0]
        bare = {name.removeprefix(f"{prefix}.") for name in unexpected}
        if missing and bare == set(missing):
            return (
                f"the names begin with {prefix!r}, which a wrapper put there: "
                "marsmith weights extract takes it off"
            )
        if missing and {name.partition(".")[2] for name in missing} == set(unexpected):
            return "the model's names begin with a prefix: was a part of a model saved?"
    if shapes and not missing and not unexpected:
        if all(expected == given[::-1] for expected, given in shapes.values()):
            return "the shapes are transposed: were they converted from another framework?"
        if all(expected[1:] == given[1:] for expected, given in shapes.values()):
            counts = {(given[0], expected[0]) for expected, given in shapes.values()}
            given, expected = next(iter(counts))
            return (
                f"another number of classes: the weights have {given}, the model {expected}; "
                "give the model's constructor the right default"
            )
    return "the weights are of another architecture: pair two that belong together"
