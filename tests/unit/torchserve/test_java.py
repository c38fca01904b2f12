"""marsmith/torchserve/java.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from marsmith.core.errors import ServerError
from marsmith.torchserve.java import java_executable


def test_without_java_home_our_own_java_runs() -> None:
    result = subprocess.run(
        [java_executable(), "-version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "21." in result.stderr


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java_executable() == java


def test_a_java_home_without_java_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServerError) as caught:
        java_executable()
    assert caught.value.code == "java-home"
    assert str(tmp_path) in caught.value.message
