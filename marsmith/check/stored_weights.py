"""Are the weights in an archive whole, sound, and what their name says? Nothing is unpickled."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from marsmith.check.file_kinds import kind_by_content, something_else
from marsmith.check.subject import Subject
from marsmith.core.errors import WeightsError
from marsmith.core.findings import Finding, Severity
from marsmith.weights.checkpoint import SAVE_STATE_DICT, Checkpoint, read_checkpoint
from marsmith.weights.find_state_dict import training_checkpoint
from marsmith.weights.onnx_graph import outside_values
from marsmith.weights.pickle_names import shown
from marsmith.weights.state_dict_differences import extraction

_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl", ".pt2", ".safetensors", ".onnx", "")
_REPEATED = 1 << 26  # bytes that tensors may have in any case
_OF_TORCH = (".pt", ".pth", ".ckpt", ".safetensors")  # other frameworks use .bin too


def check_weights(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with the file that the manifest names as the weights."""
    name = subject.manifest.serialized_file
    if name is None or name not in subject.archive.names:
        return
    with tempfile.TemporaryDirectory(prefix="marsmith-weights-") as folder:
        path = Path(folder) / Path(name).name
        subject.archive.copy(name, path)
        if path.suffix not in _PICKLED:
            return  # of another framework, for the handler to read
        if path.suffix in (".onnx", ".pt2"):
            yield from _check_kind(subject, name, path)
            yield from _check_outside(subject, name, path)
            return
        try:
            yield from _check_checkpoint(subject, name, read_checkpoint(path))
        except WeightsError as error:  # its tensors are only now looked for
            yield from _unreadable(subject, name, path, error)


def _unreadable(subject: Subject, name: str, path: Path, error: WeightsError) -> Iterator[Finding]:
    if error.code == "weights-too-many-values":
        yield subject.finding(error.message, error.hint, name, rule="weights-too-many-values")
        return
    if what := something_else(path):
        message, hint = what
        yield subject.presume(message, hint, name, rule="weights-damaged")
        return
    other = kind_by_content(path)
    if other and other != path.suffix:
        yield _misnamed(subject, name, f"a {other} file", f"rename it to {path.stem}{other}")
    elif path.suffix in _OF_TORCH:
        yield subject.presume(error.message, error.hint, name, rule="weights-damaged")


def _check_kind(subject: Subject, name: str, path: Path) -> Iterator[Finding]:
    """Check that a .onnx or .pt2 is of the format that its name says; nothing else."""
    kind = kind_by_content(path)
    if kind != path.suffix:
        actual = f"a {kind} file" if kind else "of an unknown format"
        yield _misnamed(subject, name, actual, "rename the file, and name it so in the handler")


def _check_outside(subject: Subject, name: str, path: Path) -> Iterator[Finding]:
    """Yield a file outside of the archive that an ONNX file takes its values from."""
    try:
        place = outside_values(path) if path.suffix == ".onnx" else None
    except WeightsError:
        return  # _check_kind says that it is none
    if place is not None:
        message = f"its values are to be read from outside of the archive: {shown(place)}"
        hint = "do not load it; export the model into one file: onnx.save(model, FILE)"
        yield subject.finding(message, hint, name, rule="weights-outside")


def _misnamed(subject: Subject, name: str, actual: str, hint: str) -> Finding:
    message = f"{name!r} is {actual}, which does not match its ending"
    return subject.finding(message, hint, name, rule="weights-kind")


def _check_checkpoint(subject: Subject, name: str, checkpoint: Checkpoint) -> Iterator[Finding]:
    ending, script = Path(name).suffix, checkpoint.kind == "TorchScript"
    eager = subject.manifest.model_file is not None
    if checkpoint.hostile:
        return  # reported by check_pickles
    if script and eager:
        message = f"{name!r} is TorchScript, which contains its model's class"
        hint = "remove model_file" + ("" if ending == ".pt" else f", and {_as_script(name)}")
        hint += "; or use the state_dict instead"
        yield subject.presume(message, hint, name, rule="weights-kind")
    elif (checkpoint.kind == "safetensors") != (ending == ".safetensors"):
        yield _misnamed(subject, name, checkpoint.kind, "rename it to the ending of its format")
    elif script and ending == ".pth":
        finding = _misnamed(subject, name, "TorchScript", _as_script(name))
        yield replace(finding, presumed=True)  # TorchServe's own handlers go by the ending
    elif not script and checkpoint.foreign:
        code = ", ".join(sorted(checkpoint.foreign)[:5])
        message = f"the file pickles more than tensors: {code}"
        yield subject.presume(message, SAVE_STATE_DICT, name, rule="weights-module")
    else:
        yield from _check_training_state(subject, name, checkpoint)
        if not script:
            yield from _check_loader(subject, name, checkpoint)
    yield from _check_values(subject, name, checkpoint)


def _as_script(name: str) -> str:
    return f"rename it to {Path(name).stem}.pt, by which TorchServe knows TorchScript"


def _check_loader(subject: Subject, name: str, checkpoint: Checkpoint) -> Iterator[Finding]:
    """Yield why TorchServe's BaseHandler cannot load tensors; a handler may do it by itself."""
    if subject.manifest.model_file is None:
        kind = "a training checkpoint" if training_checkpoint(checkpoint) else "a state_dict"
        message = f"{name!r} is {kind}, and there is no model_file with the class to load it into"
        hint = "set model_file to the file of the model's class, or use TorchScript"
    elif checkpoint.kind == "safetensors":
        message = f"{name!r} is safetensors, and TorchServe's BaseHandler reads only torch.save's"
        hint = extraction(subject.place(name))
    else:
        return
    found = subject.finding(message, hint, name, rule="weights-kind")
    yield replace(found, presumed=subject.default_handler is None)


def _check_training_state(subject: Subject, name: str, checkpoint: Checkpoint) -> Iterator[Finding]:
    if kind := training_checkpoint(checkpoint):
        hint = extraction(subject.place(name))
        yield subject.finding(
            f"it is {kind}", hint, name, severity=Severity.WARNING, rule="weights-training-state"
        )


def _check_values(subject: Subject, name: str, checkpoint: Checkpoint) -> Iterator[Finding]:
    distinct = {tensor.view: tensor.nbytes for tensor in checkpoint.tensors.values()}
    if sum(distinct.values()) > _REPEATED + 16 * checkpoint.path.stat().st_size:
        message = f"its tensors repeat few values until they are {sum(distinct.values()):,} bytes"
        hint = "save contiguous tensors: tensor.contiguous()"
        yield subject.finding(message, hint, name, rule="weights-repeated-values")
        return
    try:
        counts = {key: tensor.count_not_finite() for key, tensor in checkpoint.tensors.items()}
    except WeightsError as error:
        yield subject.finding(error.message, error.hint, name, rule="weights-damaged")
        return
    tensors = checkpoint.tensors
    spoiled = {key: count for key, count in counts.items() if count and not tensors[key].is_mask()}
    if spoiled:
        first = ", ".join(f"{key} ({count})" for key, count in list(spoiled.items())[:4])
        more = f" and {len(spoiled) - 4} more" if len(spoiled) > 4 else ""
        message = f"NaN or infinite values in {first}{more}"
        hint = "training had failed before this was saved: use an earlier checkpoint"
        yield subject.finding(message, hint, name, rule="weights-not-finite")
