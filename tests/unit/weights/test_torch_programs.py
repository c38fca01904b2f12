"""marsmith/weights/torch_programs.py: operators that act on files are found in programs."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from marsmith.weights.code_search import code_in
from marsmith.weights.torch_programs import operators_in


def acts(text: str, place: str = "a/code/__torch__/net.py") -> set[str]:
    return operators_in(io.BytesIO(text.encode()), place)[0]


def custom(text: str, place: str = "a/code/__torch__/net.py") -> set[str]:
    return operators_in(io.BytesIO(text.encode()), place)[1]


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("x = torch.from_file('a', True, 4)", "aten::from_file"),
        ("torch . save(x, 'a')", "aten::save"),
        ("(torch.# a comment\n  save)(x, 'a')", "aten::save"),
        ("torch.\\\nsave(x, 'a')", "aten::save"),
        ("a = '#'; torch.save(x, 'a')", "aten::save"),
        ("ops.aten.save(x, 'a')", "aten::save"),
        ("ops.image.write_file('a', x)", "image::write_file"),
        ("ops.prim.rpc_async('w', f, ())", "prim::rpc_async"),
    ],
)
def test_operators_that_use_files_are_found(text: str, operator: str) -> None:
    assert acts(text) == {operator}


def test_plain_and_other_operators_are_told_apart() -> None:
    text = "y = torch.conv2d(x, w)\nz = ops.torchvision.nms(y, s, 0.5)\nops.mine.blur(z)"
    text += "\nq : __torch__.torch.classes.mine.Table"
    assert acts(text) == set()
    assert custom(text) == {"mine::blur", "mine::Table"}


def test_bytecode_for_phones_is_searched_too() -> None:
    listed = "operators\naten::linear\naten::from_file\nmine::blur"
    assert acts(listed, "a/bytecode.pkl") == {"aten::from_file"}
    assert custom(listed, "a/bytecode.pkl") == {"mine::blur"}


@pytest.mark.parametrize("place", ["net/models/model.json", "serialized_exported_program.json"])
def test_graphs_call_operators_alone(place: str) -> None:
    def graph(*targets: str) -> str:
        nodes = [{"target": target, "inputs": []} for target in targets]
        return json.dumps({"graph_module": {"graph": {"nodes": nodes}}})

    plain = graph("torch.ops.aten.conv2d.default", "_operator.mul", "torch.sym_max", "math.floor")
    assert (acts(plain, place), custom(plain, place)) == (set(), set())
    assert custom(graph("torch.ops.mine.blur.default"), place) == {"mine::blur"}
    assert acts(graph("torch.ops.aten.from_file.default"), place) == {"aten::from_file"}
    assert acts(graph("torch.os.system"), place) == {"torch.os.system"}
    hidden = graph("torch.hub.load").replace("torch", "\\u0074orch")
    assert acts(hidden, place) == {"torch.hub.load"}


def test_a_graph_that_is_too_deep_is_refused() -> None:
    with pytest.raises(ValueError):
        acts("[" * 200_000, "models/model.json")


def test_machine_code_is_named(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("net/data/aotinductor/model/net.so", b"\x7fELF code")
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as archive:
        archive.writestr("net.pt2", inner.getvalue())
        archive.writestr("own.so", b"\x7fELF a module of the handler")
    (found,) = code_in(tmp_path / "a.mar")
    assert found.file == "net.pt2"
    assert found.custom == {"machine code": "net/data/aotinductor/model/net.so"}
    assert not found.runs


class Inner(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.from_file("/nowhere/x", shared=True, size=4)
        return x + y


class Outer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        return y


@pytest.mark.parametrize("lite", [False, True])
def test_the_operator_of_a_submodule_is_found(tmp_path: Path, lite: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script: Any = torch.jit.script(Outer())
        path = str(tmp_path / "net.pt")
        script._save_for_lite_interpreter(path) if lite else script.save(path)
    with zipfile.ZipFile(tmp_path / "a.mar", "w") as archive:
        archive.write(path, "net.pt")
    (found,) = code_in(tmp_path / "a.mar")
    assert found.operators.keys() == {"aten::from_file"}
    assert not found.names
