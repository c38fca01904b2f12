"""Recognise a file of weights by its content."""

from __future__ import annotations

import zipfile
from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import read_checkpoint


def something_else(path: Path) -> tuple[str, str] | None:
    """Return a message and a hint for a file that git or a browser left in place of weights."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        hint = "run git lfs pull, and build the archive again"
        return "the file is a git-lfs pointer, not the weights", hint
    if start.startswith((b"<!doctype html", b"<html")):
        return (
            "the file is a web page",
            "download the weights, and build the archive again",
        )
    return None


def kind_by_content(path: Path) -> str | None:
    """Return the file ending that fits a file's content, or None for an unknown format."""
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
    except Exception:  # protobuf can raise anything for other bytes
        return None
    return ".onnx"
