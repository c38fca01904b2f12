"""marsmith/__main__.py, whose `main` the `marsmith` script calls."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from marsmith.__main__ import main

pytestmark = pytest.mark.processes

# What Ctrl-C raises while the modules of the command are imported.
INTERRUPTED = """
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "marsmith.cli.commands":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from marsmith.__main__ import main
main()
"""


def test_the_script_calls_it() -> None:
    (script,) = entry_points(group="console_scripts", name="marsmith")
    assert script.load() is main


def test_ctrl_c_during_imports_ends_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
