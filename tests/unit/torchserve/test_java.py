"""marsmith/torchserve/java.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from marsmith.core.errors import ServerError
from marsmith.torchserve.java import common_pool, java_executable, security_properties
from marsmith.torchserve.properties import parse_properties


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


def test_java_accepts_the_option_for_its_common_pool_and_has_more_than_one_thread() -> None:
    command = [str(java_executable()), common_pool(), "-XshowSettings:properties", "-version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    (line,) = (one for one in result.stderr.splitlines() if "common.parallelism" in one)
    assert int(line.rpartition("=")[2]) > 1


def test_what_java_refuses_stays_refused_and_the_old_suite_too(tmp_path: Path) -> None:
    (tmp_path / "conf" / "security").mkdir(parents=True)
    (tmp_path / "conf" / "security" / "java.security").write_text(
        "# jdk.tls.disabledAlgorithms=no\njdk.tls.disabledAlgorithms=SSLv3, \\\n    RC4, X9\n"
    )
    (text,) = filter(None, [security_properties(tmp_path / "bin" / "java")])
    (disabled,) = parse_properties(text).values()
    names = [one.strip() for one in disabled.split(",")]
    assert names == ["SSLv3", "RC4", "X9", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]


def test_of_our_own_java_it_is_known_what_it_refuses() -> None:
    assert "TLSv1.1" in (security_properties(java_executable()) or "")


def test_nothing_is_said_to_a_java_that_does_not_say_it(tmp_path: Path) -> None:
    assert security_properties(tmp_path / "bin" / "java") is None
