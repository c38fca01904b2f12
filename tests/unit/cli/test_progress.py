"""marsmith/cli/progress.py, on a terminal and elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.terminal import on_terminal

pytestmark = pytest.mark.processes

CODE = """
import sys, time
import click
from marsmith.cli.options import json_option
from marsmith.cli.progress import working

@click.command()
@click.argument("seconds", type=float)
@json_option
def command(seconds, as_json):
    with working("counting\\x1b[2J sheep") as progress:
        time.sleep(seconds / 2)
        progress.count("counting\\x1b[2J sheep", 20)
        progress.done = 7
        progress.say("a step")
        time.sleep(seconds / 2)
    print("the result")

command()
"""


def test_what_takes_long_shows_what_it_does_and_is_gone_at_the_end(tmp_path: Path) -> None:
    status, seen = on_terminal("2.6", cwd=tmp_path, code=CODE)
    assert status == 0
    assert "0:01  counting\\x1b[2J sheep" in seen
    assert "0:02  counting\\x1b[2J sheep 7 of 20" in seen
    assert "a step\r\n" in seen
    # The cursor is back, and the last line is the result alone.
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert seen.rpartition("\x1b[2K")[2].replace("\x1b[?25h", "").strip() == "the result"


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["0.2"], {}),
        (["1.4", "--json"], {}),
        (["1.4"], {"TERM": "dumb"}),
    ],
    ids=["quick", "json", "dumb"],
)
def test_nothing_is_shown_where_it_is_not_wanted(
    tmp_path: Path, arguments: list[str], env: dict[str, str]
) -> None:
    assert on_terminal(*arguments, cwd=tmp_path, code=CODE, env=env) == (
        0,
        "a step\r\nthe result\r\n",
    )


def test_without_colours_a_plain_line_says_it(tmp_path: Path) -> None:
    status, seen = on_terminal("2.6", cwd=tmp_path, code=CODE, env={"NO_COLOR": "1"})
    assert status == 0
    assert "\x1b" not in seen
    first, *rest = seen.splitlines()
    assert first.startswith("counting\\x1b[2J sheep")
    assert rest == ["a step", "the result"]


def test_nothing_is_shown_in_a_pipe(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", CODE, "1.4"],
        cwd=tmp_path,
        env=os.environ | {"FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("the result\n", "a step\n")


def test_ctrl_c_ends_the_command_and_gives_the_cursor_back(tmp_path: Path) -> None:
    code = (
        "import os, signal, threading, time\nfrom marsmith.cli.progress import working\n"
        f"threading.Timer(1.6, os.kill, (os.getpid(), {signal.SIGINT:d})).start()\n"
        "try:\n    with working('waiting'):\n        time.sleep(30)\n"
        "except KeyboardInterrupt:\n    print('stopped')\n"
    )
    status, seen = on_terminal(cwd=tmp_path, code=code)
    assert status == 0
    assert "waiting" in seen
    assert seen.endswith("stopped\r\n")
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
