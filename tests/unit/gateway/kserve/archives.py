"""Unpacked archives with one sample, as far as the gateway reads them."""

from __future__ import annotations

import json
from pathlib import Path

from marsmith.answers.samples import Sample, format_samples
from marsmith.archive.reader import Archive


def archive(
    folder: Path,
    request: bytes | None,
    response: bytes = b"{}",
    *,
    content_type: str = "",
    envelope: str = "",
    ours: bool = False,
) -> Archive:
    """Return an archive with a sample, without one if there is no request."""
    model = {"modelName": "m", "modelVersion": "1.0", "handler": "h.py", "envelope": envelope}
    files = {"MAR-INF/MANIFEST.json": json.dumps({"model": model}).encode()}
    if ours:
        files["marsmith_handlers/image_request.py"] = b""
    if request is not None:
        sample = Sample("samples/a", "samples/b", 0.0, content_type=content_type)
        files |= {"samples/a": request, "samples/b": response}
        files["samples/samples.json"] = format_samples((sample,))
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return Archive(folder)
