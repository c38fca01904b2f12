"""What a command is doing, and for how long: the last line of a terminal, from a second on.

It is on standard error, and only where that is a terminal which this command has to itself; with
--json there is none. The line is gone when the work is done. With NO_COLOR it is a plain line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING

import click

from marsmith.cli.output import (
    Part,
    echo,
    finding_lines,
    no_styles,
    one_line,
    plain,
    rich_console,
    wants_json,
)
from marsmith.core.findings import Finding

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_PATIENCE = 1.0  # seconds that need no explanation
_PER_SECOND = 8
_FRAMES = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}  # whether the terminal's characters are Unicode's


class Progress:
    """The line; `what` can be changed while it is shown."""

    def __init__(self, what: str) -> None:
        self.what, self.total, self.done = what, 0, 0
        self._began = time.monotonic()
        self._timer: Timer | None = None
        self._live: Live | None = None
        self._lock = Lock()
        self._stopped = False

    def start(self) -> None:
        """Show the line if this takes long."""
        if is_shown():
            self._timer = Timer(_PATIENCE, self._show)
            self._timer.daemon = True
            self._timer.start()

    def count(self, what: str, total: int) -> None:
        """Go on with work of `total` steps; set `done` as they are made."""
        self.what, self.total, self.done = what, total if total > 1 else 0, 0

    def say(self, *parts: Part) -> None:
        """Print a line on standard error, above what is going on."""
        with self._lock:
            if self._live is None:
                echo(*parts, err=True)
                return
            from rich.text import Text

            self._live.console.print(Text.assemble(*parts), soft_wrap=True)

    def tell(self, step: str | Finding) -> None:
        """Print the name of a step, and show it while it is made; or print a warning."""
        if isinstance(step, Finding):
            for line in finding_lines(step):
                self.say(*line)
        else:
            self.say(plain(step))
            self.what = step

    def stop(self) -> None:
        """Take the line away; standard output may be written to again."""
        with self._lock:
            self._stopped = True
            if self._timer:
                self._timer.cancel()
            if self._live:
                self._live.stop()
                self._live = None

    def _show(self) -> None:
        from rich.live import Live

        with self._lock:
            if self._stopped:
                return
            if no_styles():  # no cursor is moved either
                echo(f"{one_line(self.what)} …", err=True)
                return
            self._live = Live(
                get_renderable=self._line,
                console=rich_console(stderr=True),
                transient=True,
                refresh_per_second=_PER_SECOND,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _line(self) -> Text:
        from rich.text import Text

        seconds = time.monotonic() - self._began
        frames = _FRAMES["utf" in (sys.stderr.encoding or "").lower()]
        frame = frames[int(seconds * _PER_SECOND) % len(frames)]
        count = f" {self.done} of {self.total}" if self.total else ""
        minutes, rest = divmod(int(seconds), 60)
        line = f"{frame} {minutes}:{rest:02}  {one_line(self.what)}{count}"
        return Text(line, style="dim", no_wrap=True, overflow="ellipsis")


@contextmanager
def working(what: str) -> Iterator[Progress]:
    """Show what is going on while the body runs, if it takes long."""
    progress = Progress(what)
    progress.start()
    try:
        yield progress
    finally:
        progress.stop()


def is_shown() -> bool:
    """Whether a terminal shows progress: one that can move its cursor, and that is ours now."""
    if wants_json(click.get_current_context(silent=True)) or not sys.stderr.isatty():
        return False
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()  # not `marsmith serve &`
    except OSError:
        return True  # not the terminal that controls this process, such as a pty of a test
