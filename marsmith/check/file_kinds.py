"""What a file of weights is, whatever its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import read_checkpoint


def something_else(path: Path) -> tuple[str, str] | None:
    """Name what often lies where weights should: what git or a browser left there."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        hint = "fetch the file itself with git lfs pull, and make the archive anew"
        return "the file is a pointer of git-lfs, and not the weights it stands for", hint
    if start.startswith((b"<!doctype html", b"<html")):
        return "the file is a web page", "download the file itself, and make the archive anew"
    return None


def kind_by_content(path: Path) -> str | None:
    """Return the ending that a file's content deserves, as far as it is looked at here."""
    if path.stat().st_size == 0:
        return None
    try:
        checkpoint = read_checkpoint(path)
        return {"safetensors": ".safetensors", "TorchScript": ".pt"}.get(checkpoint.kind, ".pth")
    except WeightsError:
        pass
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        exported = any("serialized_exported_program" in n or "/models/" in f"/{n}" for n in names)
        return ".pt2" if exported or any(n.endswith("archive_format") for n in names) else None
    import onnx  # slow to import

    try:
        onnx.load(path, load_external_data=False)
    except Exception:  # whatever protobuf makes of other bytes
        return None
    return ".onnx"
