"""How answers to files are shown, and where they are kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marsmith.answers.messages import Response
from marsmith.answers.pictures import picture_kind
from marsmith.answers.requests import Input
from marsmith.cli.output import file_size
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import MarsmithError
from marsmith.core.files_below import files_below
from marsmith.inspect.describe_body import body_of
from marsmith.inspect.describe_tensors import tensors_of

_ENDINGS = {
    "application/json": "json",
    "application/pdf": "pdf",
    "application/zip": "zip",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "image/bmp": "bmp",
    "image/svg+xml": "svg",
    "image/tiff": "tiff",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "video/mp4": "mp4",
}
_BY_KIND = {"JSON": "json", "text": "txt"}


@dataclass(frozen=True)
class Row:
    """The answer to one file, where it was kept, and the traceback if the handler failed."""

    input: str
    answer: Response
    kept: Path | None = None
    traceback: tuple[str, ...] = ()

    @property
    def value(self) -> Any:
        """The answer as JSON values or text; of anything else where it was kept, or its kind."""
        if body_of(self.answer.body).kind in ("JSON", "text") or not self.answer.body:
            return self.answer.values
        return str(self.kept) if self.kept else f"{described(self.answer)}; to save it: --out"

    def as_values(self, noun: str) -> dict[str, Any]:
        """Return the row for other programs."""
        values = {noun: self.input, "status": self.answer.status, "answer": self.value}
        return values | ({"traceback": list(self.traceback)} if self.traceback else {})


def files_of(paths: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    """Yield each file and its name; those of a folder in order, without hidden ones."""
    for path in paths:
        if not path.is_dir():
            yield path, str(path)
            continue
        below = [(file, file.relative_to(path)) for file in files_below(path)]
        found = [
            (file, str(name))
            for file, name in below
            if not any(part.startswith(".") for part in name.parts)
        ]
        if not found:
            raise MarsmithError(
                f"the folder {path} has no files", "name a folder with files", code="no-files"
            )
        yield from found


def places(inputs: Sequence[Input], folder: Path | None) -> list[Path | None]:
    """Return the place of each input's answer in a folder, without its own ending.

    It is named as the file is; without the file's folder and ending unless two would share a place.
    """
    if folder is None:
        return [None] * len(inputs)
    choices = {path: _choices(path, one.name) for one in inputs for path in [_named(one)]}
    taken = Counter(one for found in choices.values() for one in set(found))
    found = {
        path: folder / next((one for one in some if taken[one] == 1), some[-1])
        for path, some in choices.items()
    }
    return [found[_named(one)] for one in inputs]


def _named(one: Input) -> Path:
    return one.path or Path(one.name)


def _choices(path: Path, name: str) -> list[Path]:
    short = Path(path.name if name == str(path) else name)
    whole = Path(*(part for part in path.parts if part not in ("/", "..")))
    return [short.with_suffix(""), short, whole]


def kept(answer: Response, place: Path | None) -> Path | None:
    """Write an answer to its place, with the ending of its kind; return the file."""
    if place is None or not answer.ok:
        return None
    return Path(keep(answer.body, place.with_name(f"{place.name}.{ending(answer)}")))


def ending(answer: Response) -> str:
    """Return the usual ending of a file with this body, without the dot."""
    by_kind = _BY_KIND.get(body_of(answer.body).kind, "pt" if tensors_of(answer.body) else "bin")
    return picture_kind(answer.body) or _ENDINGS.get(answer.content_type, by_kind)


def keep(body: bytes, path: Path) -> str:
    """Write a file, and return its path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(body)
    except OSError as error:
        raise MarsmithError(
            f"{path} cannot be written: {error.strerror}",
            "name another place with --out",
            code="file",
        ) from error
    return str(path)


def described(answer: Response) -> str:
    """Return the kind and the size of a body that is not text."""
    body, size = body_of(answer.body), file_size(len(answer.body))
    if body.kind == "picture":
        return "{format}, {width} x {height} pixels, ".format(**body.facts) + size
    return f"{tensors_of(answer.body) or answer.content_type or 'binary data'}, {size}"


def cells(answer: Response, value: Any) -> tuple[str, str]:
    """Return an answer for a table: its label and confidence, or all of it."""
    if not answer.ok:
        return f"refused with {answer.status}: {answer.complaint}", ""
    if not isinstance(value, dict):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), ""
    rest = {key: one for key, one in value.items() if key != "confidence"}
    label = str(value["label"]) if "label" in value else json.dumps(rest, ensure_ascii=False)
    return label, str(value.get("confidence", ""))
