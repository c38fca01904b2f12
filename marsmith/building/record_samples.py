"""Record the current answers of an archive as the expected ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path, PurePath

from marsmith.answers.messages import Request, Response
from marsmith.answers.pictures import is_data, picture_kind
from marsmith.answers.requests import Input, likely_type
from marsmith.answers.samples import SAMPLES_FOLDER, difference
from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError, WorkerError
from marsmith.core.hashing import sha256_of
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE, SampleSpec, parse_spec
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
    request: Request
    answer: Response
    before: bytes | None  # the expected answer so far
    change: str | None


def record(
    project: Project,
    name: str,
    inputs: Sequence[Input],
    *,
    tolerance: float | None,
    largest: float | None,
    kind: str | None = None,
    timeout: float,
    sandbox: Sandbox | None = None,
) -> list[Recorded]:
    """Return an archive's answers to requests. Nothing is written except the archive itself.

    Raises FindingsError if it cannot be built, WorkerError if it cannot be loaded, and ProjectError
    with the handler's traceback if it refuses one. Without `tolerance`, `largest` or `kind`,
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
        for one in inputs:
            place = _place(project, one)
            known = next((sample for sample in spec.samples if sample.request == place), None)
            asked = _as_before(one, known)
            request = asked.request()
            start = len(run.log())
            answer = run.predict(request)
            if not answer.ok:
                message = f"{name} refuses {one.name} with {answer.status}: {answer.complaint}"
                raised = failure_lines(run, [answer], start, source_name)
                text = "\n".join([message, *(f"  {line}" for line in raised)])
                hint = "send a request that it answers, or correct the handler"
                raise ProjectError(text, hint, code="sample-refused")
            sample = _sample(name, place, answer.body, known, tolerance, largest, kind)
            told = likely_type(place)  # which the spec need not say
            typed = asked.content_type or request.content_type
            typed = "" if typed == told and not asked.content_type else typed
            sample = replace(sample, content_type=typed, headers=dict(asked.headers))
            recorded.append(_recorded(project, sample, request, answer, known))
    return recorded


def _as_before(one: Input, known: SampleSpec | None) -> Input:
    """Return an input with the content type and headers of its sample, unless others are given."""
    if known is None or one.path is None:
        return one
    typed = one.content_type or known.content_type
    return replace(one, content_type=typed, headers=one.headers or known.headers)


def _place(project: Project, one: Input) -> str:
    """Return where the spec looks for the body of a request: a form has a file of its own."""
    root = project.root.absolute()
    if one.path is None:
        files = [PurePath(field.filename).stem for field in one.fields if field.filename]
        digest = sha256_of(one.request().body)[:6]
        place = f"{SAMPLES_FOLDER}/{'-'.join([*files, digest])}.form"
    elif (path := one.path.absolute()).is_relative_to(root):
        place = path.relative_to(root).as_posix()
    else:
        place = f"{SAMPLES_FOLDER}/{path.name}"
    if "," in place:
        raise ProjectError(
            f"{place!r} has a comma, where torch-model-archiver splits lists",
            "rename the file",
            code="sample-name",
        )
    return place


def _sample(
    name: str,
    request: str,
    body: bytes,
    known: SampleSpec | None,
    tolerance: float | None,
    largest: float | None,
    kind: str | None,
) -> SampleSpec:
    """Return a sample with the answer `body`, compared as wanted, as before, or as suits it."""
    kind = _kind(body, kind or (known.kind if known else ""))
    if tolerance is None:
        # One that was meant for shades says nothing of data.
        kept = known if known and (kind != "data" or known.kind == kind) else None
        tolerance = kept.tolerance if kept else _TOLERANCES.get(kind, SampleSpec.tolerance)
    if largest is None:
        largest = known.largest if known else SampleSpec.largest
    response = f"{SAMPLES_FOLDER}/{PurePath(request).stem}-{name}.{_ending(body)}"
    response = known.response if known else response
    return SampleSpec(request, response, tolerance, largest, kind)


def _recorded(
    project: Project,
    sample: SampleSpec,
    request: Request,
    answer: Response,
    known: SampleSpec | None,
) -> Recorded:
    old = project.root / sample.response
    before = old.read_bytes() if known and old.is_file() else None
    change = None
    if before is not None:
        compared = sample.tolerance, sample.largest, sample.kind
        change = difference(before, answer.body, *compared)
    return Recorded(sample, request, answer, before, change)


def _kind(answer: bytes, wanted: str) -> str:
    """Return how a picture is compared; empty for what is none."""
    if not picture_kind(answer):
        return ""
    return wanted or ("data" if is_data(answer) else "picture")


def _ending(body: bytes) -> str:
    """Return the ending of the file that keeps an answer, without the dot."""
    if picture := picture_kind(body):
        return picture
    try:
        text = body.decode()
    except ValueError:
        return "bin"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "txt"
    return "json"


def keep(project: Project, name: str, recorded: list[Recorded]) -> None:
    """Write requests and answers beside the spec, name them in it, and build the archive with them.

    Raises ProjectError if the spec's samples are written in a way that this cannot change.
    """
    text = (project.root / SPEC_FILE).read_text(encoding="utf-8")
    for one in recorded:
        text = with_sample(text, name, one.sample)
    for one in recorded:
        target = project.root / one.sample.request
        if not target.is_file() or target.read_bytes() != one.request.body:
            _write(target, one.request.body)
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
    values: dict[str, Value] = {key.name: getattr(sample, key.name) for key in fields(sample)}
    defaults: dict[str, Value] = {"largest": SampleSpec.largest, "kind": SampleSpec.kind}
    defaults |= {"content_type": SampleSpec.content_type, "headers": {}}
    if known:
        defaults["tolerance"] = SampleSpec.tolerance
    changed = with_entry(text, ("archives", name, "samples"), "request", values, defaults)
    others = tuple(sample if one.request == sample.request else one for one in spec.samples)
    samples = others if known else (*spec.samples, sample)
    require_only(text, changed, replace(spec, samples=samples))
    return changed
