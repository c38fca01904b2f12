"""Record what an archive answers now, as the answers it must give from then on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from marsmith.answers.messages import Request, Response
from marsmith.answers.pictures import picture_kind
from marsmith.answers.samples import LARGEST, SAMPLES_FOLDER, difference
from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE, ArchiveSpec, SampleSpec, parse_spec
from marsmith.worker.runtime import Runtime

_OF_PICTURES = 0.01  # tolerance: another machine's JPEG encoder moves values by about as much


@dataclass(frozen=True)
class Recorded:
    """A request, the answer it got, and how that differs from the one expected so far."""

    sample: SampleSpec  # paths as the spec will hold them
    source: Path  # of the request
    answer: Response
    before: bytes | None  # the expected answer so far
    change: str | None


def record(
    project: Project,
    name: str,
    inputs: tuple[Path, ...],
    *,
    tolerance: float | None,
    largest: float | None,
    timeout: float,
) -> list[Recorded]:
    """Ask the archive for the answers to files; nothing is written but the archive itself.

    Raises FindingsError if it cannot be built, WorkerError if it cannot be loaded, ProjectError if
    it refuses a file. Without `tolerance` or `largest`: as they are in the
    spec, or as suits the kind of answer.
    """
    (spec,) = project.specs((name,))
    (built,) = build(project, (name,))
    recorded = []
    with Runtime(Archive(built.path), timeout=timeout) as run:
        for path in inputs:
            answer = run.predict(Request.of(path.read_bytes()))
            if not answer.ok:
                message = f"{name} refuses {path} with {answer.status}: {answer.complaint}"
                raise ProjectError(message, "record a request that it answers")
            recorded.append(_recorded(project, spec, path, answer, tolerance, largest))
    return recorded


def _recorded(
    project: Project,
    spec: ArchiveSpec,
    path: Path,
    answer: Response,
    tolerance: float | None,
    largest: float | None,
) -> Recorded:
    inside = path.absolute().is_relative_to(project.root.absolute())
    place = path.absolute().relative_to(project.root.absolute()) if inside else None
    request = place.as_posix() if place else f"{SAMPLES_FOLDER}/{path.name}"
    if "," in request:
        raise ProjectError(f"{request!r} has a comma", "rename the file")
    known = next((one for one in spec.samples if one.request == request), None)
    picture = picture_kind(answer.body)
    if tolerance is None and known:
        tolerance = known.tolerance
    elif tolerance is None:
        tolerance = _OF_PICTURES if picture else SampleSpec.tolerance
    if largest is None:
        largest = known.largest if known else SampleSpec.largest
    ending = picture or ("json" if _is_json(answer.body) else "txt")
    response = f"{SAMPLES_FOLDER}/{path.stem}-{spec.name}.{ending}"
    response = known.response if known else response
    old = project.root / response
    before = old.read_bytes() if known and old.is_file() else None
    change = difference(before, answer.body, tolerance, largest) if before is not None else None
    sample = SampleSpec(request, response, tolerance, largest)
    return Recorded(sample, path, answer, before, change)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def keep(project: Project, name: str, recorded: list[Recorded]) -> None:
    """Write requests and answers beside the spec, name them in it, and build the archive with them.

    Raises ProjectError if the spec's samples stand where they cannot be added to.
    """
    (spec,) = project.specs((name,))
    text = (project.root / SPEC_FILE).read_text(encoding="utf-8")
    for one in recorded:
        text = with_sample(text, spec, one.sample)
    parse_spec(text)
    for one in recorded:
        target = project.root / one.sample.request
        if target.absolute() != one.source.absolute():
            _write(target, one.source.read_bytes())
        _write(project.root / one.sample.response, one.answer.body)
    _write(project.root / SPEC_FILE, text.encode())
    build(Project(project.root), (name,))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)


def with_sample(text: str, spec: ArchiveSpec, sample: SampleSpec) -> str:
    """Return the spec's text with a sample more, or with another one for the same request.

    All other lines stay as they are. Raises ProjectError where no table can be added.
    """
    lines = text.splitlines()
    tables = [n for n, line in enumerate(lines) if _TABLE.match(line)]
    own = re.compile(rf"\s*\[\[?\s*archives\s*\.\s*[\"']?{re.escape(spec.name)}[\"']?\s*[\].]")
    blocks = [
        (start, end)
        for start, end in zip(tables, [*tables[1:], len(lines)], strict=True)
        if own.match(lines[start])
    ]
    mine = [line for start, end in blocks for line in lines[start:end]]
    if not blocks or any(re.match(r"\s*samples\s*=", line) for line in mine):
        raise ProjectError(
            f"a sample of {spec.name} cannot be added to {SPEC_FILE} as it is written",
            f"write its samples as tables [[archives.{spec.name}.samples]]",
        )
    same = re.compile(rf"\s*request\s*=\s*[\"']{re.escape(sample.request)}[\"']")
    for start, end in blocks:
        if any(same.match(line) for line in lines[start:end]):
            changed = _with_tolerances(lines[start:end], sample)
            return "\n".join([*lines[:start], *changed, *lines[end:]]) + "\n"
    end = blocks[-1][1]
    return _joined(lines[:end], _entry(spec.name, sample), lines[end:])


_TABLE = re.compile(r"\s*\[\[?\s*[A-Za-z\"']")


def _with_tolerances(block: list[str], sample: SampleSpec) -> list[str]:
    """Return a sample's lines with its tolerances as they are now; comments and order stay."""
    for key, value in (("largest", sample.largest), ("tolerance", sample.tolerance)):
        found = [n for n, line in enumerate(block) if re.match(rf"\s*{key}\s*=", line)]
        if found and float(block[found[0]].partition("=")[2].partition("#")[0]) != value:
            block[found[0]] = f"{key} = {value:g}"
        elif not found and value != getattr(SampleSpec, key):
            last = max(n for n, line in enumerate(block) if re.match(r"\s*\w+\s*=", line))
            block.insert(last + 1, f"{key} = {value:g}")
    return block


def _entry(name: str, sample: SampleSpec) -> list[str]:
    entry = [f"[[archives.{name}.samples]]", f'request = "{sample.request}"']
    entry += [f'response = "{sample.response}"', f"tolerance = {sample.tolerance:g}"]
    return entry + ([f"largest = {sample.largest:g}"] if sample.largest != LARGEST else [])


def _joined(before: list[str], entry: list[str], after: list[str]) -> str:
    head, tail = "\n".join(before).rstrip(), "\n".join(after).strip("\n")
    return "\n\n".join(filter(None, [head, "\n".join(entry), tail])) + "\n"
