"""A fixture that tests of all kinds share."""

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


@pytest.fixture
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test a $TMPDIR of its own, to see what is left in it.

    Its path is short, unlike pytest's `tmp_path`: the sockets of workers need the room.
    """
    with tempfile.TemporaryDirectory(prefix="t") as name:
        monkeypatch.setenv("TMPDIR", os.fspath(name))
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)
