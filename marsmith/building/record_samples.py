"""Record the current answers of an archive as the expected ones."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from marsmith.answers.messages import Request, Response
from marsmith.answers.pictures import is_data, picture_kind
from marsmith.answers.samples import SAMPLES_FOLDER, difference
from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError, WorkerError
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE, ArchiveSpec, SampleSpec, parse_spec
from marsmith.project.toml_editor import Value, require_only, with_entry
from marsmith.worker.failure_lines import failure_lines, load_error
from marsmith.worker.runtime import Runtime
from marsmith.worker.sandbox import Sandbox

# Tolerance by kind: another machine's JPEG encoder moves values by about as much. Data are equal.
_TOLERANCES = {"picture": 0.01, "data": 0.0}


@dataclass(frozen=True)
class Recorded:
    """A request, its answer, and how that differs from the one expected so far."""

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
    kind: str | None = None,
    timeout: float,
    sandbox: Sandbox | None = None,
) -> list[Recorded]:
    """Return an archive's answers to files. Nothing is written except the archive itself.

    Raises FindingsError if it cannot be built, WorkerError if it cannot be loaded, and ProjectError
    with the handler's traceback if it refuses a file. Without `tolerance`, `largest` or `kind`,
    those in the spec apply, or what suits the answer.
    """
    (spec,) = project.specs((name,))
    (built,) = build(project, (name,))
    recorded = []
    source_name = partial(source_names(project), name)
    run = Runtime(Archive(built.path), timeout=timeout, sandbox=sandbox)
    try:
        run.start()
    except WorkerError as error:
        raise load_error(error, run, source_name) from error
    with run:
        for path in inputs:
            start = len(run.log())
            answer = run.predict(Request.of(path.read_bytes()))
            if not answer.ok:
                message = f"{name} refuses {path} with {answer.status}: {answer.complaint}"
                raised = failure_lines(run, [answer], start, source_name)
                text = "\n".join([message, *(f"  {line}" for line in raised)])
                hint = "send a request that it answers, or correct the handler"
                raise ProjectError(text, hint, code="sample-refused")
            recorded.append(_recorded(project, spec, path, answer, tolerance, largest, kind))
    return recorded


def _recorded(
    project: Project,
    spec: ArchiveSpec,
    path: Path,
    answer: Response,
    tolerance: float | None,
    largest: float | None,
    kind: str | None,
) -> Recorded:
    inside = path.absolute().is_relative_to(project.root.absolute())
    place = path.absolute().relative_to(project.root.absolute()) if inside else None
    request = place.as_posix() if place else f"{SAMPLES_FOLDER}/{path.name}"
    if "," in request:
        raise ProjectError(
            f"{request!r} has a comma, where torch-model-archiver splits lists",
            "rename the file",
            code="sample-name",
        )
    known = next((one for one in spec.samples if one.request == request), None)
    picture = picture_kind(answer.body)
    kind = _kind(answer.body, kind or (known.kind if known else ""))
    if tolerance is None:
        # One that was meant for shades says nothing of data.
        kept = known if known and (kind != "data" or known.kind == kind) else None
        tolerance = kept.tolerance if kept else _TOLERANCES.get(kind, SampleSpec.tolerance)
    if largest is None:
        largest = known.largest if known else SampleSpec.largest
    ending = picture or ("json" if _is_json(answer.body) else "txt")
    response = f"{SAMPLES_FOLDER}/{path.stem}-{spec.name}.{ending}"
    response = known.response if known else response
    old = project.root / response
    before = old.read_bytes() if known and old.is_file() else None
    change = None
    if before is not None:
        change = difference(before, answer.body, tolerance, largest, kind)
    sample = SampleSpec(request, response, tolerance, largest, kind)
    return Recorded(sample, path, answer, before, change)


def _kind(answer: bytes, wanted: str) -> str:
    """Return how a picture is compared; empty for what is none."""
    if not picture_kind(answer):
        return ""
    return wanted or ("data" if is_data(answer) else "picture")


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def keep(project: Project, name: str, recorded: list[Recorded]) -> None:
    """Write requests and answers beside the spec, name them in it, and build the archive with them.

    Raises ProjectError if the spec's samples are written in a way that this cannot change.
    """
    text = (project.root / SPEC_FILE).read_text(encoding="utf-8")
    for one in recorded:
        text = with_sample(text, name, one.sample)
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


def with_sample(text: str, name: str, sample: SampleSpec) -> str:
    """Return the spec's text with one more sample, or with other tolerances for the same request.

    Raises ProjectError if the samples are written in a way that this cannot change.
    """
    spec = parse_spec(text).archives[name]
    known = any(one.request == sample.request for one in spec.samples)
    keys = ("request", "response", "tolerance", "largest", "kind")
    values = {key: getattr(sample, key) for key in keys}
    defaults: dict[str, Value] = {"largest": SampleSpec.largest, "kind": SampleSpec.kind}
    if known:
        defaults["tolerance"] = SampleSpec.tolerance
    changed = with_entry(text, ("archives", name, "samples"), "request", values, defaults)
    others = tuple(sample if one.request == sample.request else one for one in spec.samples)
    samples = others if known else (*spec.samples, sample)
    require_only(text, changed, replace(spec, samples=samples))
    return changed
