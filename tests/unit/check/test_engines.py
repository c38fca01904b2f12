"""An engine that cannot run its model is told at check time."""

from __future__ import annotations

import importlib.util
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from marsmith.archive.reader import Archive
from marsmith.check import engines
from marsmith.check.engines import check_engine
from marsmith.check.subject import Subject


def archive(
    folder: Path, config: dict[str, Any], files: dict[str, bytes], *, model_file: bool = False
) -> Subject:
    """Return an archive whose first file is its model."""
    model = {
        "modelName": "m",
        "modelVersion": "1",
        "handler": "h.py",
        "serializedFile": next(iter(files)),
        "configFile": "model-config.yaml",
    } | ({"modelFile": "net.py"} if model_file else {})
    path = folder / "m.mar"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        file.writestr("model-config.yaml", yaml.safe_dump({"handler_config": config}))
        for name, content in ({"torch_engines.py": b""} | files).items():
            file.writestr(name, content)
    return Subject(Archive(path))


def zipped(folder: Path, entry: str) -> bytes:
    with zipfile.ZipFile(folder / "inner.zip", "w") as file:
        file.writestr(entry, b"")
    return (folder / "inner.zip").read_bytes()


IR = b'<net><layer type="Convolution"/></net>'
INT8 = b'<net><layer type="FakeQuantize"/></net>'


@pytest.mark.parametrize(
    ("config", "files", "said"),
    [
        ({"engine": "openvno"}, {"m.xml": IR, "m.bin": b""}, "'openvno'"),
        ({"engine": 1}, {"m.xml": IR, "m.bin": b""}, " 1"),
        ({"dtype": "int4"}, {"m.xml": IR, "m.bin": b""}, "'int4'"),
        ({"dtype": "int8"}, {"m.xml": IR, "m.bin": b""}, "m.xml is not "),
        ({}, {"m.xml": INT8, "m.bin": b""}, "'float32', and m.xml"),
        ({"dtype": "int8"}, {"m.xml": INT8}, "m.bin"),
        ({"dtype": "int8"}, {"m.pt": b""}, "'torchscript' does not support 'int8'"),
        ({"engine": "openvino"}, {"m.pt": b""}, "'openvino' does not run .pt"),
        ({"engine": "compile"}, {"m.pt": b""}, "does not run .pt, only a model_file"),
    ],
)
def test_what_does_not_fit_is_told_with_a_hint(
    tmp_path: Path, config: dict[str, Any], files: dict[str, bytes], said: str
) -> None:
    (found,) = check_engine(archive(tmp_path, config, files))
    assert said in found.message
    assert found.hint
    assert found.rule == "engine"


def test_a_slip_gets_the_right_name(tmp_path: Path) -> None:
    files = {"m.xml": IR, "m.bin": b""}
    (found,) = check_engine(archive(tmp_path, {"engine": "openvno"}, files))
    assert found.hint == "did you mean 'openvino'?"


@pytest.mark.parametrize(
    ("config", "files", "model_file"),
    [
        ({}, {"m.pth": b""}, True),
        ({"engine": "compile", "dtype": "bfloat16"}, {"m.pth": b""}, True),
        ({"dtype": "int8"}, {"m.xml": INT8, "m.bin": b""}, False),
        ({"engine": "openvino", "dtype": "bfloat16"}, {"m.xml": IR, "m.bin": b""}, False),
        ({"engine": "torchscript"}, {"m.pt": b""}, False),
    ],
)
def test_what_fits_gets_no_finding(
    tmp_path: Path, config: dict[str, Any], files: dict[str, bytes], model_file: bool
) -> None:
    assert list(check_engine(archive(tmp_path, config, files, model_file=model_file))) == []


@pytest.mark.parametrize(("engine", "entry"), [("eager", "m/x.wrapper.so"), ("aotinductor", "m/x")])
def test_a_package_of_machine_code_is_no_program(tmp_path: Path, engine: str, entry: str) -> None:
    subject = archive(tmp_path, {"engine": engine}, {"m.pt2": zipped(tmp_path, entry)})
    (found,) = check_engine(subject)
    assert found.rule == "engine"
    assert f"'{engine}' does not run m.pt2" in found.message


def test_a_missing_engine_and_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "is_installed", lambda _: False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (found,) = check_engine(archive(tmp_path, {}, {"m.xml": IR, "m.bin": b""}))
    assert found.rule == "engine"
    assert found.hint == "pip install 'marsmith[openvino]'"
    compiled = archive(tmp_path, {"engine": "compile"}, {"m.pth": b""}, model_file=True)
    (found,) = check_engine(compiled)
    assert found.rule == "engine"
    assert "C++" in found.message
    assert importlib.util.find_spec("openvino")  # which the development lock brings


def test_other_peoples_handlers_may_mean_something_else(tmp_path: Path) -> None:
    subject = archive(tmp_path, {"engine": "steam"}, {"m.pt": b""})
    with zipfile.ZipFile(tmp_path / "other.mar", "w") as file:
        for name in subject.archive.names - {"torch_engines.py"}:
            file.writestr(name, subject.archive.read(name))
    assert list(check_engine(Subject(Archive(tmp_path / "other.mar")))) == []
