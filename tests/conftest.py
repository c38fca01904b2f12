"""What tests of all kinds share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `scripts/test faults` and `scripts/test soak` say."""
    parser.addoption(
        "--faults", choices=["quick", "full"], default="quick", help="32 connections for 20 s"
    )
    parser.addoption("--faults-results", metavar="FILE", help="keep the figures of each fault")
    parser.addoption("--soak-minutes", type=float, default=10.0, help="length of the soak")


_SHARE_A_SERVER = ("test_ask", "test_seeing", "test_ways")  # one of four models: dear to start


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests of one file, and of those that share a server, run in one process."""
    for item in items:
        file = item.path
        group = "served" if file.stem in _SHARE_A_SERVER else f"{file.parent.name}/{file.stem}"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test a $TMPDIR of its own, to see what is left in it.

    Its path is short, unlike pytest's `tmp_path`: the sockets of workers need the room.
    """
    with tempfile.TemporaryDirectory(prefix="t") as name:
        monkeypatch.setenv("TMPDIR", os.fspath(name))
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)
