"""`marsmith status`: the running servers, and figures of their models."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, TypeGuard

import click

from marsmith.cli.options import Number, json_option, project_of
from marsmith.cli.output import examples, is_terminal, print_json
from marsmith.cli.progress import working
from marsmith.cli.tables import print_table
from marsmith.client.description import Model
from marsmith.server.lookup import no_server, unknown_server
from marsmith.server.monitor import Glance, Watch
from marsmith.server.state import NOT_STARTED, ServerState, UnknownState, recorded_servers
from marsmith.torchserve.metrics import ModelFigures, ServerFigures

SERVER_COLUMNS = ("port", "state", "models", "up", "management", "metrics", "pid")
MODEL_COLUMNS = (
    *("model", "version", "default", "workers", "queue"),
    *("requests", "4xx", "5xx", "per s", "batch", "wait", "p50", "p99"),
)
_SHORT = {"version": "ver", "requests": "reqs"}


@click.command(epilog=examples("marsmith status", "marsmith status --interval 10"))
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Number(0),
    default=0.0,
    help="Count for this long; 0: all since the server's start.",
)
@json_option
@click.pass_context
def status(context: click.Context, interval: float, as_json: bool) -> None:
    """List the running servers of this project, their models and request counts.

    wait is a request's mean time in the queue; p50 and p99 are times in the handler. - means not
    measured. * marks the default version, where a model has several.
    """
    with working("counting requests" if interval else "asking the servers"):
        recorded = recorded_servers(project_of(context))
        glances = _look([one for one in recorded if _runs(one)], interval)
    others = [one for one in recorded if not _runs(one)]
    if as_json:
        print_json([_json(glance) for glance in glances] + [_other_json(one) for one in others])
    elif not recorded:
        click.echo(no_server().message)
    else:
        servers = [server_row(glance.state) for glance in glances]
        servers += [_other_row(one) for one in others]
        columns: tuple[str, ...] = SERVER_COLUMNS
        if is_terminal():  # to fit 80 characters
            columns, servers = columns[:-1], [row[:-1] for row in servers]
        print_table(columns, servers, right=("pid",), fold=("state", "models"))
        for glance in glances:
            click.echo(f"\n{heading(glance)}")
            if glance.models:
                _print_models(glance)
        for other in others:
            message, hint = _explained(other)
            click.echo(f"\n{message}\nhint: {hint}")


def _runs(recorded: ServerState | UnknownState) -> TypeGuard[ServerState]:
    return isinstance(recorded, ServerState) and recorded.condition != "crashed"


def _explained(other: ServerState | UnknownState) -> tuple[str, str]:
    """Return what is known of a server that does not run, and what to do."""
    if isinstance(other, UnknownState):
        error = unknown_server(other)
        return error.message, error.hint
    stop = f"marsmith stop --port {other.port}"
    message = f"the server on port {other.port} ended without having been stopped"
    command = "gateway" if other.kind == "gateway" else "serve"
    return message, f"start it again: marsmith {command}; or remove what it left: {stop}"


def _other_row(other: ServerState | UnknownState) -> tuple[object, ...]:
    state = "unknown" if isinstance(other, UnknownState) else other.condition
    return (other.port, state, *("-" for _ in SERVER_COLUMNS[2:]))


def _other_json(other: ServerState | UnknownState) -> dict[str, Any]:
    message, hint = _explained(other)
    state = "unknown" if isinstance(other, UnknownState) else other.condition
    return {"port": other.port, "state": state, "trouble": message, "hint": hint, "served": []}


def _print_models(glance: Glance) -> None:
    """Print a row for each version; on a terminal without the column `default`, to fit it."""
    rows = model_rows(glance)
    columns, rows = short_columns(rows) if is_terminal() else (MODEL_COLUMNS, rows)
    print_table(columns, rows, right=columns[columns.index("queue") :], gap=1)


def short_columns(
    rows: list[tuple[str, ...]],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return columns and rows that fit 80 characters: * marks the default of several versions."""
    names = [row[0] for row in rows]
    short = []
    for name, version, default, *others in rows:
        mark = "*" if default and names.count(name) > 1 else ""
        short.append((name, version + mark, *others))
    titles = (_SHORT.get(name, name) for name in MODEL_COLUMNS if name != "default")
    return tuple(titles), short


def _look(states: list[ServerState], interval: float) -> list[Glance]:
    with ExitStack() as stack:
        watches = [stack.enter_context(Watch(state, interval)) for state in states]
        if interval and watches:
            for watch in watches:
                watch.look()
            time.sleep(interval)
        return [watch.look() for watch in watches]


def _json(glance: Glance) -> dict[str, Any]:
    state, figures = glance.state, glance.figures
    front_end = None if state.front_end == NOT_STARTED else state.front_end[0]
    own = {"state": word(state), "pid": state.supervisor[0], "front_end_pid": front_end}
    hidden = ("ready", "supervisor", "front_end", "nonce", "system", "format")
    own |= {key: value for key, value in asdict(state).items() if key not in hidden}
    counted = figures.server() if figures else ServerFigures()
    return own | {
        "health": glance.health,
        "trouble": glance.trouble,
        "seconds": figures.seconds if figures else None,
        "since_start": figures.since_start if figures else None,
        **asdict(counted),
        "served": [_model_json(glance, model) for model in glance.models],
    }


def _model_json(glance: Glance, model: Model) -> dict[str, Any]:
    values = {
        "name": model.name,
        "version": model.version,
        "default": model.default,
        "workers": len(model.workers),
        "ready_workers": model.ready_workers,
        "min_workers": model.min_workers,
        "max_workers": model.max_workers,
        "queue": model.pending_requests,
    }
    return values | asdict(figures_of(glance, model))


def figures_of(glance: Glance, model: Model) -> ModelFigures:
    """Return the figures of a model; empty ones if there are none."""
    if glance.figures is None:
        return ModelFigures()
    return glance.figures.model(model.name, model.version, default=model.default)


def heading(glance: Glance) -> str:
    """Return one line about a server: health, requests by status, and the time they cover."""
    state, figures = glance.state, glance.figures
    if glance.trouble:
        return f"{state.port}: {glance.trouble}"
    words = [f"{state.port}: {(glance.health or '').lower()}"]
    if restarts := getattr(state, "restarts", 0):
        words.append(f"restarted {restarts} times")
    if figures is None:
        return ", ".join([*words, "no figures: set metrics_mode=prometheus"])
    counted = figures.server()
    for count, what in (
        (counted.answered, "2xx"),
        (counted.refused, "4xx"),
        (counted.failed, "5xx"),
    ):
        words.append(f"{_number(count)} x {what}")
    when = "since its start" if figures.since_start else f"in {figures.seconds:.1f} s"
    return ", ".join(words) + f" {when}"


def model_rows(glance: Glance) -> list[tuple[str, ...]]:
    """Return a row of MODEL_COLUMNS for each version of each model."""
    rows = []
    for model in glance.models:
        found = figures_of(glance, model)
        workers = f"{model.ready_workers} of {model.min_workers}:{model.max_workers}"
        counts = map(_number, (found.requests, found.refused, found.failed))
        rows.append(
            (
                *(model.name, model.version, "yes" if model.default else "", workers),
                *(str(model.pending_requests), *counts),
                *(_number(found.per_second, 1), _number(found.batch, 1)),
                *(_time(value) for value in (found.queue_ms, found.p50_ms, found.p99_ms)),
            )
        )
    return rows


def server_row(state: ServerState) -> tuple[object, ...]:
    """Return a row of SERVER_COLUMNS."""
    minutes, seconds = divmod(int(time.time() - state.since), 60)
    places = state.management_url, state.metrics_url
    up = f"{minutes}m{seconds:02}s"
    return state.port, word(state), " ".join(state.models), up, *places, state.supervisor[0]


def word(state: ServerState) -> str:
    """Return a server's state; only a model that answered its samples counts as ready."""
    if state.abandoned:
        return "abandoned"
    if not state.ready:
        return "starting"
    unproven = set(state.models) & set(state.unproven)
    if unproven and unproven == set(state.models):
        return "started, unproven"
    return f"ready, {len(unproven)} unproven" if unproven else "ready"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.{1 if milliseconds < 100 else 0}f}ms"
    return f"{milliseconds / 1000:.1f}s"
