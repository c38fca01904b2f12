"""`marsmith run`: an archive answers files, without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from marsmith.answers.forms import Field
from marsmith.answers.messages import Response
from marsmith.answers.requests import Input, accepting
from marsmith.cli.answers import Row, kept, places
from marsmith.cli.options import (
    accept_code_option,
    archive_argument,
    archive_of,
    json_option,
    sandbox_of,
    sandbox_options,
    source_name_of,
    timeout_option,
)
from marsmith.cli.output import examples
from marsmith.cli.progress import working
from marsmith.cli.reports import accept_option, folder_of, out_option, report, require_one
from marsmith.cli.requests import inputs_of, request_options, require_input
from marsmith.core.errors import WorkerError
from marsmith.project.accepted_code import accepted_around
from marsmith.worker.failure_lines import failure_lines, load_error
from marsmith.worker.runtime import Runtime


@click.command(
    epilog=examples(
        "marsmith run digits samples/seven.png",
        "marsmith run model_store/digits.mar photos --out answers.csv",
        "marsmith run cartoon samples/cat.jpg --out - > cat.jpg",
        "marsmith run inpaint --field image=@cat.jpg --field mask=@mask.png --out answers",
    )
)
@archive_argument
@click.argument(
    "inputs",
    metavar="INPUT...",
    nargs=-1,
    type=click.Path(exists=True, path_type=Path),
)
@request_options
@accept_option
@out_option
@accept_code_option
@timeout_option
@sandbox_options
@json_option
@click.pass_context
def run(
    context: click.Context,
    archive: str,
    inputs: tuple[Path, ...],
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    fields: tuple[Field, ...],
    accept: str,
    out: Path | None,
    accept_code: tuple[str, ...],
    timeout: float,
    sandbox: str | None,
    as_json: bool,
) -> None:
    """Send each INPUT to an archive, loaded as a worker loads it, without a server.

    ARCHIVE is a name in archives.toml, a .mar or .tar.gz, or an unpacked archive. An INPUT is a
    file, or a folder of files; with --field, a form is sent instead. A .json file is sent as JSON.
    """
    opened = archive_of(context, archive)
    asked = inputs_of(inputs, content_type, headers, fields)
    require_input(asked)
    require_one(asked, out)
    targets = places(asked, folder_of(out))
    rows, source_name = [], source_name_of(context, opened)
    accepted = accepted_around(opened.path) | frozenset(accept_code)
    runtime = Runtime(opened, timeout=timeout, accepted=accepted, sandbox=sandbox_of(sandbox))
    with working(f"loading {opened.name}") as progress:
        try:
            runtime.start()
        except WorkerError as error:
            raise load_error(error, runtime, source_name) from error
        with runtime:
            progress.count(f"running {opened.name}", len(asked))
            for start in range(0, len(asked), runtime.batch_size):
                part = asked[start : start + runtime.batch_size]
                answers, failed = _answers(runtime, part, accept, source_name)
                for number, (one, answer) in enumerate(zip(part, answers, strict=True), start):
                    place = kept(answer, targets[number])
                    why = failed if answer.status >= 500 else ()
                    rows.append(Row(one.name, answer, place, why))
                progress.done += len(part)
    report(rows, out, as_json=as_json, noun="input")


def _answers(
    runtime: Runtime, inputs: list[Input], accept: str, source_name: Callable[[str], str]
) -> tuple[list[Response], tuple[str, ...]]:
    """Return the answers to one batch, and why a request failed."""
    requests = [accepting(one.request(), accept) for one in inputs]
    start = len(runtime.log())
    answers = runtime.predict_batch(requests)
    return answers, failure_lines(runtime, answers, start, source_name)
