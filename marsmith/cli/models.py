"""`marsmith predict`, `marsmith models`, `marsmith scale`: requests to a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marsmith.answers.forms import Field
from marsmith.cli.answers import Row, kept, places
from marsmith.cli.options import json_option, name_argument, port_option, project_of
from marsmith.cli.output import echo, examples, file_size, print_json
from marsmith.cli.progress import working
from marsmith.cli.reports import accept_option, folder_of, out_option, report, require_one
from marsmith.cli.requests import inputs_of, request_options, require_input
from marsmith.cli.tables import print_table
from marsmith.client import Model, Worker
from marsmith.core.processes import resident_memory
from marsmith.core.worker_bounds import bounds_problem
from marsmith.deploy import scaling
from marsmith.server.late_answers import late_answer
from marsmith.server.lookup import connect

_TRACEBACK = "the handler's traceback: marsmith logs {} --tail 5"


@click.command(
    epilog=examples(
        "marsmith predict digits samples/seven.png",
        "marsmith predict cartoon photos --out answers",
    )
)
@name_argument
@click.argument(
    "inputs",
    metavar="INPUT...",
    nargs=-1,
    type=click.Path(exists=True, path_type=Path),
)
@request_options
@accept_option
@out_option
@port_option
@json_option
@click.pass_context
def predict(
    context: click.Context,
    name: str,
    inputs: tuple[Path, ...],
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    fields: tuple[Field, ...],
    accept: str,
    out: Path | None,
    port: int | None,
    as_json: bool,
) -> None:
    """Send each INPUT, a file or a folder of files, to the model NAME and show its answer.

    With --field, a form is sent instead. A .json file is sent as JSON.
    """
    asked = inputs_of(inputs, content_type, headers, fields)
    require_input(asked)
    require_one(asked, out)
    targets = places(asked, folder_of(out))
    rows = []
    with working(f"asking {name}") as progress, connect(project_of(context), port) as client:
        progress.count(f"asking {name}", len(asked))
        for one, target in zip(asked, targets, strict=True):
            answer = client.predict(name, one.request(), accept)
            rows.append(Row(one.name, answer, kept(answer, target)))
            progress.done += 1
    if any(row.answer.status >= 500 for row in rows):
        late = late_answer(project_of(context), port, name)
        echo(f"hint: {late or _TRACEBACK.format(name)}", err=True)
    report(rows, out, as_json=as_json, noun="input")


@click.command(epilog=examples("marsmith models", "marsmith models --json"))
@port_option
@json_option
@click.pass_context
def models(context: click.Context, port: int | None, as_json: bool) -> None:
    """List the served models: versions, workers, batching, memory."""
    with connect(project_of(context), port) as client:
        described = client.models()
    if as_json:
        print_json([_json(model) for model in described])
        return
    columns = ("name", "version", "default", "workers", "batch size", "delay", "memory")
    numbers = ("batch size", "delay", "memory")
    print_table(columns, [_row(model) for model in described], right=numbers, fold=("workers",))


def _row(model: Model) -> tuple[object, ...]:
    states = ", ".join(f"{worker.id} {worker.state}" for worker in model.workers) or "none"
    workers = f"{len(model.workers)} of {model.min_workers}:{model.max_workers} ({states})"
    memory = file_size(sum(map(_memory, model.workers)))
    default = "yes" if model.default else "no"
    delay = f"{model.max_batch_delay} ms"
    return model.name, model.version, default, workers, model.batch_size, delay, memory


def _memory(worker: Worker) -> int:
    """Return a worker's bytes; TorchServe itself measures them only once a minute."""
    return worker.memory or resident_memory(worker.pid)


def _json(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "default": model.default,
        "minWorkers": model.min_workers,
        "maxWorkers": model.max_workers,
        "batchSize": model.batch_size,
        "maxBatchDelay": model.max_batch_delay,
        "memory": sum(map(_memory, model.workers)),
        "workers": [
            {"id": w.id, "state": w.state, "pid": w.pid, "memory": _memory(w)}
            for w in model.workers
        ],
    }


class WorkerCount(click.ParamType[tuple[int, int]]):
    """`2` or `1:4`: the least and the largest number of workers of a model."""

    name = "MIN[:MAX]"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        low, colon, high = str(value).partition(":")
        if not low.isdecimal() or (colon and not high.isdecimal()):
            self.fail(f"{value!r} is not MIN or MIN:MAX", param, ctx)
        bounds = int(low), int(high) if colon else int(low)
        if problem := bounds_problem(*bounds):
            self.fail(problem, param, ctx)
        if bounds[1] == 0:
            self.fail("MAX workers must be at least 1", param, ctx)
        if bounds[0] < self._least:
            self.fail(f"MIN workers must be at least {self._least}", param, ctx)
        return bounds


@click.command(epilog=examples("marsmith scale digits 2", "marsmith scale digits 1:4"))
@name_argument
@click.argument("workers", metavar="MIN[:MAX]", type=WorkerCount())
@port_option
@click.pass_context
def scale(context: click.Context, name: str, workers: tuple[int, int], port: int | None) -> None:
    """Set the number of workers of the model NAME; returns when they are ready."""
    with working(f"starting workers of {name}") as progress:
        model = scaling.scale(project_of(context), port, name, workers, progress.tell)
    row = (name, model.version, _row(model)[3])
    print_table(("name", "version", "workers"), [row], fold=("workers",))
