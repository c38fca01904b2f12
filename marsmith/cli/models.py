"""`marsmith predict`, `marsmith models`, `marsmith scale`: what one asks a running server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from marsmith.cli.answers import cells, shown
from marsmith.cli.options import json_option, port_option, project_of
from marsmith.cli.output import file_size, print_json, print_table
from marsmith.client import Model, Worker
from marsmith.client.managing import bounds_problem
from marsmith.core.processes import resident_memory
from marsmith.deploy import scaling
from marsmith.server.lookup import connect


@click.command()
@click.argument("name")
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False),
)
@click.option("--accept", default="*/*", metavar="TYPE", help="content type to ask for")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="folder for answered images"
)
@port_option
@json_option
@click.pass_context
def predict(
    context: click.Context,
    name: str,
    images: tuple[str, ...],
    accept: str,
    out: Path | None,
    port: int | None,
    as_json: bool,
) -> None:
    """Send each IMAGE to the model NAME and show its answer, or keep it if it is an image."""
    with connect(project_of(context), port) as client:
        answers = [client.predict(name, Path(image).read_bytes(), accept) for image in images]
    values = [shown(answer, image, out) for image, answer in zip(images, answers, strict=True)]
    if as_json:
        print_json(
            [
                {"image": image, "status": answer.status, "answer": value}
                for image, answer, value in zip(images, answers, values, strict=True)
            ]
        )
    else:
        pairs = [cells(answer, value) for answer, value in zip(answers, values, strict=True)]
        rows = [(image, *pair) for image, pair in zip(images, pairs, strict=True)]
        print_table(("image", "answer", "confidence"), rows)
    sys.exit(0 if all(answer.ok for answer in answers) else 1)


@click.command()
@port_option
@json_option
@click.pass_context
def models(context: click.Context, port: int | None, as_json: bool) -> None:
    """List what is served: versions, workers, batching, memory."""
    with connect(project_of(context), port) as client:
        described = client.models()
    if as_json:
        print_json([_json(model) for model in described])
        return
    columns = ("name", "version", "default", "workers", "batch size", "delay", "memory")
    print_table(columns, [_row(model) for model in described])


def _row(model: Model) -> tuple[object, ...]:
    states = ", ".join(f"{worker.id} {worker.state}" for worker in model.workers) or "none"
    workers = f"{len(model.workers)} of {model.min_workers}:{model.max_workers} ({states})"
    memory = file_size(sum(map(_memory, model.workers)))
    default = "yes" if model.default else "no"
    delay = f"{model.max_batch_delay} ms"
    return model.name, model.version, default, workers, model.batch_size, delay, memory


def _memory(worker: Worker) -> int:
    """Return a worker's bytes; TorchServe measures them once a minute, from its second on."""
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
    """`2` or `1:4`: how many workers a model has at least and at most."""

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


@click.command()
@click.argument("name")
@click.argument("workers", metavar="MIN[:MAX]", type=WorkerCount())
@port_option
@click.pass_context
def scale(context: click.Context, name: str, workers: tuple[int, int], port: int | None) -> None:
    """Set how many workers NAME has; returns when they are up."""
    model = scaling.scale(project_of(context), port, name, workers)
    print_table(("name", "version", "workers"), [(name, model.version, _row(model)[3])])
