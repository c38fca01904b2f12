"""`marsmith top`: the figures of `marsmith status`, live."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from marsmith.cli.options import port_option, project_of
from marsmith.cli.output import examples, one_line, rich_console
from marsmith.cli.status import heading, model_rows, short_columns
from marsmith.project.project import Project
from marsmith.server.lookup import no_server
from marsmith.server.monitor import Glance, Watch
from marsmith.server.state import ServerState, running_servers

_PAUSE = 1.0  # seconds between two frames
_WINDOW = 5.0  # seconds that figures cover: handlers report theirs once a second
_FIRST = 2.0  # seconds that the one frame in a pipe covers
_PIPE_WIDTH = 160  # characters: enough to cut nothing off


@click.command(epilog=examples("marsmith top", "marsmith top --port 8080"))
@port_option
@click.pass_context
def top(context: click.Context, port: int | None) -> None:
    """Show figures of this project's servers once a second, for the last 5 seconds.

    q or Ctrl-C ends it. If the output is not a terminal, one frame is printed.
    """
    project = project_of(context)
    console = rich_console()
    if not console.is_terminal:
        console = rich_console(width=_PIPE_WIDTH)
    if not console.is_terminal or not sys.stdin.isatty():
        _print_once(project, port, console)
        return
    watching = _Watching()
    with (
        suppress(KeyboardInterrupt),
        watching.stack,
        _keys(),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(_frame(watching.look(_chosen(project, port))), refresh=True)
            if _pressed(_PAUSE) in ("q", "Q"):
                return


class _Watching:
    """Watches each server, and starts anew when another one takes its place."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self._watches: dict[tuple[int, float], Watch] = {}

    def look(self, states: list[ServerState]) -> list[Glance]:
        for state in states:
            if state.front_end not in self._watches:
                self._watches[state.front_end] = self.stack.enter_context(Watch(state, _WINDOW))
        return [self._watches[state.front_end].look() for state in states]


def _print_once(project: Project, port: int | None, console: Console) -> None:
    states = _chosen(project, port)
    if not states:
        raise no_server(port)
    watching = _Watching()
    with watching.stack:
        watching.look(states)
        time.sleep(_FIRST)
        console.print(_frame(watching.look(states), hint=False))


def _chosen(project: Project, port: int | None) -> list[ServerState]:
    return [state for state in running_servers(project) if port in (None, state.port)]


def _frame(glances: list[Glance], *, hint: bool = True) -> RenderableType:
    parts: list[RenderableType] = []
    for glance in glances:
        parts.append(Text(one_line(heading(glance)), style="red" if glance.trouble else "bold"))
        if glance.models:
            parts.append(_table(glance))
    if not glances:
        parts.append(Text(no_server().message))
    if hint:
        parts.append(Text(f"{time.strftime('%H:%M:%S')}  q ends", style="dim"))
    return Group(*parts)


def _table(glance: Glance) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    columns, rows = short_columns(model_rows(glance))
    numbers = columns[columns.index("queue") :]
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    for model, row in zip(glance.models, rows, strict=True):
        cells = {name: Text(one_line(cell)) for name, cell in zip(columns, row, strict=True)}
        if model.ready_workers < model.min_workers:
            cells["workers"].stylize("red")
        if cells["5xx"].plain not in ("-", "0"):
            cells["5xx"].stylize("red")
        table.add_row(*cells.values())
    return table


@contextmanager
def _keys() -> Iterator[None]:
    """Read single keys, and restore the terminal at the end."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(seconds: float) -> str | None:
    """Return the key that is pressed within this time."""
    if not select.select([sys.stdin], [], [], seconds)[0]:
        return None
    with suppress(OSError):  # the terminal is gone
        if key := os.read(sys.stdin.fileno(), 1):
            return key.decode(errors="replace")
    return "q"
