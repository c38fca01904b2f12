"""`marsmith run`: an archive answers files, without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from marsmith.answers.messages import Request, Response
from marsmith.cli.answers import Row, inputs_of, kept, places
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
from marsmith.core.errors import WorkerError
from marsmith.project.accepted_code import accepted_around
from marsmith.worker.failure_lines import failure_lines, load_error
from marsmith.worker.runtime import Runtime


@click.command(
    epilog=examples(
        "marsmith run digits samples/seven.png",
        "marsmith run model_store/digits.mar photos --out answers.csv",
        "marsmith run cartoon samples/cat.jpg --out - > cat.jpg",
    )
)
@archive_argument
@click.argument(
    "inputs",
    metavar="INPUT...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
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
    accept: str,
    out: Path | None,
    accept_code: tuple[str, ...],
    timeout: float,
    sandbox: str | None,
    as_json: bool,
) -> None:
    """Send each INPUT to an archive, loaded as a worker loads it, without a server.

    ARCHIVE is a name in archives.toml, a .mar or .tar.gz, or an unpacked archive. An INPUT is a
    file, or a folder of files.
    """
    opened = archive_of(context, archive)
    files = list(inputs_of(inputs))
    require_one(files, out)
    folder = folder_of(out)
    targets = places(files, folder) if folder else {}
    rows, source_name = [], source_name_of(context, opened)
    accepted = accepted_around(opened.path) | frozenset(accept_code)
    runtime = Runtime(opened, timeout=timeout, accepted=accepted, sandbox=sandbox_of(sandbox))
    with working(f"loading {opened.name}") as progress:
        try:
            runtime.start()
        except WorkerError as error:
            raise load_error(error, runtime, source_name) from error
        with runtime:
            progress.count(f"running {opened.name}", len(files))
            for start in range(0, len(files), runtime.batch_size):
                part = files[start : start + runtime.batch_size]
                answers, failed = _answers(runtime, [path for path, _ in part], accept, source_name)
                for (path, name), answer in zip(part, answers, strict=True):
                    place = kept(answer, targets.get(path))
                    rows.append(Row(name, answer, place, failed if answer.status >= 500 else ()))
                progress.done += len(part)
    report(rows, out, as_json=as_json, noun="input")


def _answers(
    runtime: Runtime, paths: list[Path], accept: str, source_name: Callable[[str], str]
) -> tuple[list[Response], tuple[str, ...]]:
    """Return the answers to one batch, and why a request failed."""
    requests = [Request.of(path.read_bytes(), headers={"Accept": accept}) for path in paths]
    start = len(runtime.log())
    answers = runtime.predict_batch(requests)
    return answers, failure_lines(runtime, answers, start, source_name)
