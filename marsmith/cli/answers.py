"""How answers to images are shown, and where they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marsmith.answers.messages import Response
from marsmith.answers.pictures import picture_kind
from marsmith.cli.output import file_size
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import MarsmithError


def shown(answer: Response, image: str, out: Path | None) -> Any:
    """Return an answer as JSON values; one that is an image is written to the folder `out`."""
    kind = picture_kind(answer.body)
    if kind is None:
        return answer.values
    if out is None:
        size = file_size(len(answer.body))
        return f"{answer.content_type}, {size}; to keep it: --out FOLDER"
    return keep(answer.body, out / f"{Path(image).stem}.{kind}")


def keep(body: bytes, path: Path) -> str:
    """Write an answer, and return where it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(body)
    except OSError as error:
        raise MarsmithError(
            f"{path} cannot be written: {error.strerror}", "name another folder with --out"
        ) from error
    return str(path)


def cells(answer: Response, value: Any) -> tuple[str, str]:
    """Return what a table shows of an answer: its label and confidence, or all it says."""
    if not answer.ok:
        return f"refused with {answer.status}: {answer.complaint}", ""
    if isinstance(value, dict) and "confidence" in value:
        rest = [f"{key}: {one}" for key, one in value.items() if key != "confidence"]
        said = str(value["label"]) if "label" in value else ", ".join(rest)
        return said, str(value["confidence"])
    return str(value["label"] if isinstance(value, dict) and "label" in value else value), ""
