"""`marsmith export`: real models, written by real PyTorch, and served by real TorchServe."""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from marsmith.building.export_formats import FORMATS as FORMAT
from tests.integration.kit import ROOT, Kit

INDEX = "samples/samples.json"

# TorchScript: test_a_script_keeps_both_ways, and the repository's own digits.
FORMATS = ["torch-export", "onnx", "openvino"]
DECIDES = """
import torch

class Decides(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        values = images.mean(dim=(1, 2, 3)) * self.scale
        if bool(values.sum() > 0):
            return torch.stack([values, -values], dim=1)
        return torch.stack([values, values], dim=1)
"""
SPEC = """
[archives.decides]
version = "1.0"
handler = "handlers/marsmith_handlers/image_classifier.py"
model_file = "model_defs/decides.py"
serialized_file = "weights/decides.pth"
[archives.decides.handler_config]
size = [8, 8]
[[archives.decides.samples]]
request = "samples/seven.png"
response = "samples/decides.json"
"""


class Trap:
    """What makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def exported_archives(kit: Kit) -> list[str]:
    """Return what is in the model store beside what archives.toml describes."""
    return sorted(p.stem for p in (kit.root / "model_store").glob("*-*.mar"))


def test_all_formats_are_written_proven_and_served(kit: Kit) -> None:
    for kind in FORMATS:
        lines = kit("export", "digits", "--format", kind).stdout.splitlines()
        assert lines[0].startswith(f"built      model_store/digits-{kind}.mar")
        rows = [line.split() for line in lines[2:]]
        assert [" ".join(row[:-2]) for row in rows] == [
            "samples",
            "random, batch 1",
            "random, batch 32",
            "random, batch 64",
        ]
        assert all(float(number) < 1e-4 for row in rows for number in row[-1:])
        with zipfile.ZipFile(kit.root / "model_store" / f"digits-{kind}.mar") as archive:
            entries = set(archive.namelist())
        assert not {"convnet.py", "convnet.pth"} & entries
        assert {"digit_classifier.py", "samples/seven.png", "samples/seven.json"} <= entries
    assert exported_archives(kit) == sorted(f"digits-{kind}" for kind in FORMATS)
    names = [f"digits-{kind}" for kind in FORMATS]
    state = kit("serve", *names, "--background", "--port", "0")
    assert "ready" in state.stdout  # the samples of each passed
    assert "has no sample" not in state.stderr


@pytest.fixture
def decides(kit: Kit) -> Kit:
    kit.write("model_defs/decides.py", DECIDES)
    kit.write("archives.toml", SPEC)
    kit.write("samples/decides.json", '{"label": "0"}')
    torch.save({"scale": torch.ones(1)}, kit.root / "weights" / "decides.pth")
    return kit


@pytest.mark.parametrize("kind", ["torch-export", "onnx"])
def test_a_model_that_decides_by_its_data_is_not_written_wrong(decides: Kit, kind: str) -> None:
    result = decides("export", "decides", "--format", kind, check=False)
    assert result.returncode == 1
    assert "error[export-failed]" in result.stderr
    assert exported_archives(decides) == []


def test_a_trace_that_would_go_wrong_is_refused_whatever_its_folder_is_called(
    decides: Kit, tmp_path: Path
) -> None:
    """Decisions in PyTorch's own files are none of the model's; this folder is not PyTorch's."""
    folder = tmp_path / "torch"
    folder.mkdir()
    env = os.environ | {"TMPDIR": str(folder)}
    kind = ("--format", "torchscript-trace")
    result = decides("export", "decides", *kind, check=False, env=env)
    assert result.returncode == 1
    assert "error[export-failed]" in result.stderr
    assert "decides.py:11" in result.stderr
    assert "use --format torchscript-script" in result.stderr
    assert exported_archives(decides) == []


def test_a_model_that_decides_by_the_size_of_its_batch_is_found(decides: Kit) -> None:
    by_size = DECIDES.replace("bool(values.sum() > 0)", "images.shape[0] > 40")
    decides.write("model_defs/decides.py", by_size)
    sample = '{"label": "0", "index": 0, "confidence": 0.5, "probabilities": {"0": 0.5, "1": 0.5}}'
    decides.write("samples/decides.json", sample)
    spec = (decides.root / "archives.toml").read_text()
    decides.write("archives.toml", spec.rstrip() + "\ntolerance = 0.5\n")
    result = decides("export", "decides", "--format", "onnx", check=False)
    assert "error[export-differs]" in result.stderr
    assert "random, batch 64" in result.stderr
    assert exported_archives(decides) == []


def test_a_script_keeps_both_ways(decides: Kit) -> None:
    """The expected answer in the project is not right, and that is what is found, not the model."""
    result = decides("export", "decides", "--format", "torchscript-script", check=False)
    assert "error[export-differs]" in result.stderr
    assert "samples/seven.png: confidence: unexpected" in result.stderr
    assert exported_archives(decides) == []
    sample = '{"label": "0", "index": 0, "confidence": 0.5, "probabilities": {"0": 0.5, "1": 0.5}}'
    decides.write("samples/decides.json", sample)
    spec = (decides.root / "archives.toml").read_text()
    decides.write("archives.toml", spec.rstrip() + "\ntolerance = 0.5\n")
    decides("export", "decides", "--format", "torchscript-script")
    assert exported_archives(decides) == ["decides-torchscript-script"]


def test_over_the_tolerance_nothing_is_written(decides: Kit) -> None:
    """A model that counts its calls cannot be held by a trace, and warns of nothing."""
    counts = DECIDES.replace("if bool(values.sum() > 0):", "self.calls += 1\n        if True:")
    counts = counts.replace("[values, -values]", "[values * self.calls, -values]")
    decides.write("model_defs/decides.py", counts.replace("(1))", "(1))\n        self.calls = 0"))
    result = decides("export", "decides", "--format", "torchscript-trace", check=False)
    assert result.returncode == 1
    assert "error[export-differs]" in result.stderr
    assert exported_archives(decides) == []


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (
            'handler = "image_classifier"\nserialized_file = "weights/convnet.pth"',
            "export-without-model",
        ),
        (
            'handler = "handlers/marsmith_handlers/image_handler.py"\n'
            'model_file = "model_defs/convnet.py"\n'
            'serialized_file = "weights/convnet.pth"',
            "no-sample",
        ),
    ],
)
def test_what_cannot_be_exported_is_said_with_a_hint(kit: Kit, spec: str, code: str) -> None:
    kit.write("archives.toml", f'[archives.other]\nversion = "1"\n{spec}\n')
    result = kit("export", "other", "--format", "onnx", check=False)
    assert result.returncode == 1
    assert f"error[{code}]" in result.stderr
    assert "hint:" in result.stderr


def photos(folder: Path, count: int = 12) -> Path:
    """Write pictures with figures that differ, and a file that is none, which is left out."""
    folder.mkdir()
    for number in range(count):
        image = Image.open(ROOT / "samples" / "seven.png").rotate(3 * number - 18)
        image.save(folder / f"photo-{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_int8_is_calibrated_on_photos_and_judged_by_others(kit: Kit) -> None:
    kind = "openvino"  # ONNX in int8: tests/handlers/marsmith_handlers/test_model_loader.py
    folder = photos(kit.root / "photos")
    words = ["export", "digits", "--format", kind, "--dtype", "int8", "--calibrate", str(folder)]
    words += ["--sample-tolerance", "0.1", "--agreement", "0.6", "--keep", str(kit.root / "kept")]
    lines = kit(*words).stdout.splitlines()
    assert lines[0].startswith(f"built      model_store/digits-{kind}-int8.mar")
    assert any(line.split()[:3] == ["photos", "held", "out"] for line in lines)
    told = r"same answers as eager PyTorch: (.*)% of (.) photos; numbers .*"
    found = re.fullmatch(told, lines[-1])
    assert found
    assert float(found[1]) >= 60
    assert int(found[2]) in (6, 7)  # the broken one may be on either side
    archive = kit.root / "model_store" / f"digits-{kind}-int8.mar"
    with zipfile.ZipFile(archive) as file:
        config = yaml.safe_load(file.read("model-config.yaml"))["handler_config"]
        for kept in (kit.root / "kept").iterdir():
            assert file.read(kept.name) == kept.read_bytes()
        assert all(sample["tolerance"] == 0.1 for sample in json.loads(file.read(INDEX)))
    assert (config["dtype"], config["engine"]) == ("int8", FORMAT[kind].engine)
    before = archive.read_bytes()
    kit(*words)
    assert archive.read_bytes() == before  # the same model, the same photos


def test_int8_that_answers_too_differently_is_refused(kit: Kit) -> None:
    """A seven that lies is none of the digits for certain, so that int8 shows in its answer."""
    folder = kit.root / "turned"
    folder.mkdir()
    for number in range(2):
        turned = Image.open(ROOT / "samples" / "seven.png").rotate(90 + 180 * number)
        turned.save(folder / f"{number}.png")
    kit("build")
    kit("sample", "digits", folder / "0.png", folder / "1.png", "--tolerance", "1e-3", "--yes")
    arguments = ["export", "digits", "--format", "openvino", "--dtype", "int8"]
    result = kit(*arguments, "--calibrate", folder, check=False)
    assert result.returncode == 1
    assert "error[export-differs]" in result.stderr
    assert "--sample-tolerance above 0.001" in result.stderr
    empty = kit.root / "empty"
    empty.mkdir()
    result = kit(*arguments, "--calibrate", empty, check=False)
    assert "error[too-few-photos]" in result.stderr
    assert exported_archives(kit) == []


def test_a_dtype_that_a_format_has_not_is_refused(kit: Kit) -> None:
    result = kit("export", "digits", "--format", "onnx", "--dtype", "bfloat16", check=False)
    assert "error[export-dtype]" in result.stderr
    assert "--format torchscript-trace" in result.stderr
    (kit.root / "handlers" / "marsmith_handlers" / "torch_engines.py").unlink()
    result = kit("export", "digits", "--format", "openvino", check=False)
    assert "error[export-without-engines]" in result.stderr


def test_an_unknown_format_is_a_usage_error(kit: Kit) -> None:
    result = kit("export", "digits", "--format", "tflite", check=False)
    assert result.returncode == 2
    assert "torchscript-trace" in result.stderr


def test_an_archive_whose_files_hold_code_is_not_exported(kit: Kit) -> None:
    spec = (kit.root / "archives.toml").read_text()
    kit.write("archives.toml", spec.replace("extra_files = [", 'extra_files = ["own.pkl", ', 1))
    (kit.root / "own.pkl").write_bytes(pickle.dumps(Trap(kit.root / "sprung"), 2))
    failed = kit("export", "digits", "--format", "onnx", check=False)
    assert "error[weights-execute]" in failed.stderr, failed.stderr
    assert not (kit.root / "model_store/digits-onnx.mar").exists()
    assert not (kit.root / "sprung").exists()
