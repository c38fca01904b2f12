"""Archives of every age and form, read inertly."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from marsmith.archive.reader import Archive
from marsmith.building.writer import write_archive
from marsmith.core.errors import ArchiveError
from marsmith.inspect.describe_body import body_of
from marsmith.inspect.model_layers import layers_of
from marsmith.inspect.summary import Inspection, inspect
from tests.codes import coded, tells
from tests.unit.conftest import MakeProject, SavedByTorch

MANIFEST = "MAR-INF/MANIFEST.json"


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def manifest(**model: Any) -> bytes:
    return json.dumps({"model": {"modelName": "a", **model}}).encode()


def inspected(path: Path, files: Mapping[str, bytes | str]) -> Inspection:
    """Inspect a deflated zip of these files, as torch-model-archiver writes it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return inspect(Archive(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.mar"


def test_an_archive_of_ours_tells_everything(project: MakeProject) -> None:
    tiny = project()
    digest = write_archive(tiny, tiny.spec_file.archives["tiny"])
    found = inspect(Archive(tiny.model_store / "tiny.mar"))
    assert (found.name, found.form, found.digest) == ("tiny", "zip", digest)
    assert found.model["modelVersion"] == "1.0"
    assert (found.serving, found.handler_config) == (
        {"minWorkers": 1, "batchSize": 4},
        {"size": [28, 28]},
    )
    assert [one.name for one in found.examples] == ["one.bin"]
    assert (found.examples[0].request.kind, found.examples[0].request.size) == ("bytes", 3)
    assert found.examples[0].response.facts == {"type": "list", "length": 1}
    assert (found.weights, found.requirements, found.problems) == ([], [], {})
    assert found.signature is None


def test_a_signature_beside_it_is_noted(path: Path) -> None:
    path.with_name("a.mar.sig").write_text("{}")
    found = inspected(path, {MANIFEST: manifest()})
    assert (found.signature, found.signed_by) == (path.with_name("a.mar.sig"), None)


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"model": null}',
        b'{"engine": {"engineName": "MXNet"}, "model": {"modelName": "a"}}',
        b'{"runtime": 3, "model": {"handler": 7, "modelVersion": 1.5}}',
    ],
)
def test_manifests_of_any_age_are_taken(path: Path, content: bytes) -> None:
    found = inspected(path, {MANIFEST: content, "handler.py": ""})
    assert found.manifest == json.loads(content)
    assert (found.weights, found.serving, found.problems) == ([], {}, {})


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000])
def test_what_has_no_manifest_that_is_one_is_no_archive(path: Path, content: bytes) -> None:
    with pytest.raises(ArchiveError, check=coded("manifest-unreadable")):
        inspected(path, {MANIFEST: content})
    with pytest.raises(ArchiveError, check=coded("manifest-missing")):
        inspected(path, {"a": ""})


def test_all_forms_tell_the_same(tmp_path: Path) -> None:
    files = {MANIFEST: manifest(serializedFile="w.pth"), "w.pth": saved({"a.b": torch.ones(2, 3)})}
    found = [inspected(tmp_path / "a.mar", files)]
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"a/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            target = tmp_path / "a" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    found += [inspect(Archive(tmp_path / name)) for name in ("a.tar.gz", "a")]
    assert [one.form for one in found] == ["zip", "tar", "folder"]
    for one in found:
        assert {entry.name for entry in one.entries} == files.keys()
        assert [weights.parameters for weights in one.weights] == [6]


def test_weights_are_counted_without_statistics_and_tied_ones_once(path: Path) -> None:
    tied = torch.ones(4, 2)
    state = {"a.weight": tied, "b.weight": tied, "norm.weight": torch.ones(4).bfloat16()}
    state |= {"norm.running_mean": torch.ones(4), "norm.num_batches_tracked": torch.tensor(3)}
    checkpoint = {"epoch": 1, "state_dict": state, "optimizer": {"m": torch.ones(100)}}
    files = {MANIFEST: manifest(serializedFile="w.pth"), "w.pth": saved(checkpoint)}
    (weights,) = inspected(path, files).weights
    assert weights.file
    assert weights.file.kind == "PyTorch zip"
    assert weights.parameters == 8 + 4
    assert weights.dtypes == {"float32": 3, "bfloat16": 1, "int64": 1}
    assert [(one.name, one.parameters) for one in weights.layers()] == [
        ("a", 8),
        ("b", 8),
        ("norm", 4),
    ]


def test_torchscript_and_whole_modules_tell_their_tensors(path: Path, saved: SavedByTorch) -> None:
    files = {MANIFEST: manifest(serializedFile="w.pt"), "w.pt": saved.torchscript}
    files |= {"more.pth": saved.module_zip}
    script, module = inspected(path, files).weights
    assert script.file
    assert module.file
    assert (script.file.kind, script.file.code) == ("TorchScript", [])
    assert script.file.object_name.startswith("__torch__.")
    assert module.file.object_name == "torch.nn.modules.container.Sequential"
    assert module.file.code
    assert script.parameters == module.parameters == 2 * 2 + 2 + 2 + 2


def test_exported_programs_tell_graph_and_tensors(path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    file = io.BytesIO()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(net, (torch.ones(2, 3),), dynamic_shapes=(batch,))
    torch.export.save(program, file)
    files = {MANIFEST: manifest(serializedFile="w.pt2"), "w.pt2": file.getvalue()}
    (weights,) = inspected(path, files).weights
    assert weights.file
    assert weights.file.program
    assert weights.file.kind == "torch.export program"
    assert {n: t.shape for n, t in weights.tensors.items()} == {
        "0.weight": (2, 3),
        "0.bias": (2,),
    }
    assert weights.file.program.operators == {"linear": 1, "relu": 1}
    (given,) = weights.file.program.inputs
    assert given.startswith("input: float32[s")
    assert given.endswith(", 3]")


def test_onnx_tells_graph_and_tensors(path: Path) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "fc.weight"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.ones((3, 2), np.float32), "fc.weight")],
    )
    content = helper.make_model(graph, producer_name="me").SerializeToString()
    files = {MANIFEST: manifest(serializedFile="w.onnx"), "w.onnx": content}
    (weights,) = inspected(path, files).weights
    assert weights.file
    assert weights.file.program
    assert weights.file.program.inputs == ("x: float32[N, 3]",)
    assert weights.file.program.outputs == ("y: float32[N, 2]",)
    assert weights.file.program.operators == {"MatMul": 1}
    assert (weights.parameters, weights.tensors["fc.weight"].shape) == (6, (3, 2))


@pytest.mark.parametrize("name", ["w.pth", "w.pt2", "w.onnx", "w.engine", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\3\4", b"\x08\x01\xff\xff\xff"])
def test_weights_of_no_known_kind_are_named_with_the_reason(
    path: Path, name: str, content: bytes
) -> None:
    (weights,) = inspected(path, {MANIFEST: manifest(serializedFile=name), name: content}).weights
    assert (weights.name, weights.size, weights.file) == (name, len(content), None)
    assert weights.problem


def test_files_that_are_missing_are_named(path: Path) -> None:
    model = {"serializedFile": "w.pth", "requirementsFile": "r.txt", "configFile": "c.yaml"}
    found = inspected(path, {MANIFEST: manifest(**model), "other.pth": b"no weights"})
    assert [(one.name, one.size) for one in found.weights] == [("w.pth", None)]
    assert found.problems.keys() == {"config", "requirements"}
    assert tells(found.problems["config"], "c.yaml")
    assert tells(found.problems["requirements"], "r.txt")


def test_a_pickle_that_attacks_is_named_and_does_not_run(path: Path) -> None:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("archive/data.pkl", b"cposix\nsystem\n(X\4\0\0\0exittR.")
    files = {MANIFEST: manifest(serializedFile="w.pth"), "w.pth": file.getvalue()}
    (weights,) = inspected(path, files).weights
    assert weights.file
    assert weights.file.hostile == ["posix.system"]


def test_an_unpacked_archive_is_not_followed_out_of_its_folder(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "a"
    secret.write_text("secret: 1")
    (folder / "MAR-INF").mkdir(parents=True)
    model = {
        "configFile": "../secret",
        "requirementsFile": "../secret",
        "serializedFile": str(secret),
    }
    (folder / MANIFEST).write_bytes(manifest(**model))
    found = inspect(Archive(folder))
    assert (found.serving, found.handler_config, found.requirements) == ({}, {}, [])
    assert found.problems["config"].startswith("../secret ")
    assert found.weights[0].problem


def test_configuration_is_parted_into_torchserves_and_the_handlers(path: Path) -> None:
    text = "minWorkers: 2\nwhen: 2020-01-01\n3: [.nan]\nhandler_config: {size: 1}\n"
    found = inspected(path, {MANIFEST: manifest(configFile="c.yaml"), "c.yaml": text})
    assert found.serving == {"minWorkers": 2}
    assert found.handler_config == {"when": "2020-01-01", "3": ["nan"], "size": 1}


@pytest.mark.parametrize("text", ["- 1", "a: [", "\0", "x: &x [1, 1]\n" * 3])
def test_configuration_that_cannot_be_read_is_a_problem(path: Path, text: str) -> None:
    found = inspected(path, {MANIFEST: manifest(configFile="c.yaml"), "c.yaml": text})
    assert found.problems["config"].startswith("c.yaml ")
    assert (found.serving, found.handler_config) == ({}, {})


def test_configuration_that_contains_itself_is_a_problem(path: Path) -> None:
    found = inspected(path, {MANIFEST: manifest(configFile="c.yaml"), "c.yaml": "a: &a [*a]"})
    assert found.handler_config == {}
    assert "c.yaml" in found.problems["config"]


def test_yaml_that_grows_without_end_is_cut(path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join(["l0: &l0 [x]", *levels])
    found = inspected(path, {MANIFEST: manifest(configFile="c.yaml"), "c.yaml": text})
    assert len(json.dumps(found.handler_config)) < 10_000_000


def test_requirements_come_without_comments(path: Path) -> None:
    files: dict[str, bytes | str] = {MANIFEST: manifest(requirementsFile="r.txt")}
    files["r.txt"] = "# why\n\n numpy>=2 \n"
    assert inspected(path, files).requirements == ["numpy>=2"]


# ---- bodies


def test_bodies_are_told_by_their_bytes() -> None:
    file = io.BytesIO()
    Image.new("L", (3, 2)).save(file, "PNG")
    picture = body_of(file.getvalue())
    assert picture.kind == "picture"
    assert picture.facts == {"format": "PNG", "width": 3, "height": 2, "mode": "L"}
    assert body_of(b'{"a": 1, "b": 2}').facts == {"type": "object", "keys": ["a", "b"]}
    assert body_of(b'[{"a": 1}]').facts == {"type": "list", "length": 1, "keys": ["a"]}
    assert [body_of(one).facts["type"] for one in (b"1", b"true", b'"x"', b"null")] == [
        "number",
        "boolean",
        "text",
        "null",
    ]
    assert (body_of(b"two\nlines").kind, body_of(b"two\nlines").facts) == ("text", {"lines": 2})
    assert [body_of(one).kind for one in (b"", b"\0", b"\xff", b"\x89PNG\r\n\x1a\n")] == [
        "bytes"
    ] * 4


# ---- layers


class Shaped:
    """A tensor of which only the shape matters."""

    dtype = "float32"

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.count = int(torch.tensor(shape).prod())


def test_layers_are_put_together_where_they_are_too_many() -> None:
    names = [f"{part}.{n}.conv.weight" for part in ("down", "middle", "up") for n in range(10)]
    tensors = {**{name: Shaped(2, 3) for name in names}, "head.weight": Shaped(4)}
    layers = layers_of(tensors, at_most=16)
    assert [(one.name, one.modules, one.parameters) for one in layers] == [
        ("down", 10, 60),
        ("middle", 10, 60),
        ("up", 10, 60),
        ("head", 1, 4),
    ]
    assert layers[-1].shapes == {"weight": (4,)}
    assert len(layers_of(tensors)) == 31


def test_one_name_above_all_layers_does_not_hide_them() -> None:
    tensors = {f"model.{n}.weight": Shaped(2) for n in range(20)}
    assert len(layers_of(tensors, at_most=16)) == 20


def test_tensors_without_a_module_are_the_roots() -> None:
    (layer,) = layers_of({"weight": Shaped(2), "bias": Shaped(1)}, at_most=16)
    assert (layer.name, layer.parameters) == ("", 3)
    assert layers_of({}, at_most=16) == []
