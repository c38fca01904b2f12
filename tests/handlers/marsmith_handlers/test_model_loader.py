"""The real engines, each on a small network, compared with eager at several batch sizes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._inductor.config as inductor
from marsmith_handlers.model_loader import ENGINES, default_engine, load_model
from marsmith_handlers.torch_engines import TorchEngine

from marsmith.check import engines as checked
from marsmith.programs.exported_formats import write_format

NETWORK = """
import torch

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.SiLU(), torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(), torch.nn.Linear(8, 4),
        )

    def forward(self, images):
        return self.layers(images * 1.5)
"""
EAGER = {"modelFile": "small_network.py", "serializedFile": "small.pth"}
# engine, dtype → file, its format
FILES = {
    ("torchscript", "float32"): ("traced.pt", "torchscript-trace"),
    ("torchscript", "bfloat16"): ("scripted.pt", "torchscript-script"),
    ("onnxruntime", "float32"): ("plain.onnx", "onnx"),
    ("onnxruntime", "int8"): ("int8.onnx", "onnx"),
    ("openvino", "float32"): ("plain.xml", "openvino"),
    ("openvino", "bfloat16"): ("bfloat16.xml", "openvino"),
    ("openvino", "int8"): ("int8.xml", "openvino"),
    ("aotinductor", "float32"): ("code.pt2", "aotinductor"),
    ("eager", "float32"): ("program.pt2", "torch-export"),
    ("eager", "bfloat16"): ("program-bfloat16.pt2", "torch-export"),
}
CLOSE = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.05}
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def trusted_processor() -> Iterator[None]:
    """Believe what the processor says it can: PyTorch would compile ten programs to see: 25 s."""
    with inductor.patch({"cpp.vec_isa_ok": True}):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as a worker has it, with a network and its weights."""
    path = tmp_path_factory.mktemp("engines")
    (path / "small_network.py").write_text(NETWORK)
    sys.path.insert(0, str(path))
    torch.manual_seed(0)
    module: torch.nn.Module = __import__("small_network").Small()
    torch.save(module.state_dict(), path / "small.pth")
    yield path
    sys.path.remove(str(path))
    del sys.modules["small_network"]


@pytest.fixture(scope="module")
def eager(folder: Path) -> torch.nn.Module:
    engine = load_model(folder, EAGER)
    assert isinstance(engine, TorchEngine)
    network = engine.network
    assert isinstance(network, torch.nn.Module)
    assert not network.training
    return network


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 24, 24, generator=torch.Generator().manual_seed(count))


def answers(network: torch.nn.Module, batch: torch.Tensor) -> Any:
    with torch.inference_mode():
        return network(batch).numpy()


def require_compiler(engine: str) -> None:
    if engine in ("aotinductor", "compile") and not any(map(shutil.which, ("c++", "g++"))):
        pytest.skip("no C++ compiler: apt-get install g++")


def assert_answers_as_eager(
    folder: Path, model: dict[str, str], engine: str, dtype: str, eager: torch.nn.Module
) -> None:
    loaded = load_model(folder, model, engine, dtype)
    for count in (1, 5, 2):
        batch = loaded.stack(list(images(count).numpy()))
        output = loaded(batch)
        assert output.dtype == np.float32
        np.testing.assert_allclose(output, answers(eager, images(count)), 0, CLOSE[dtype])
    first = loaded(images(1).numpy())
    before = first.copy()
    loaded(images(2).numpy())
    assert np.array_equal(first, before)  # the next batch does not write over it


@pytest.mark.parametrize(("engine", "dtype"), FILES)
def test_an_engine_answers_as_eager_does(
    folder: Path, eager: torch.nn.Module, engine: str, dtype: str
) -> None:
    name, kind = FILES[engine, dtype]
    require_compiler(engine)
    example = images(2).contiguous(memory_format=torch.channels_last)  # as eager handlers have it
    with torch.no_grad():
        write_format(eager, [example], kind, dtype, folder / name, [images(8)])
    assert_answers_as_eager(folder, {"serializedFile": name}, engine, dtype, eager)
    assert default_engine(folder / name, has_class=False) == engine


@pytest.mark.parametrize("engine", ["compile", "torchscript"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_file_runs_on_other_engines_as_it_is(
    folder: Path, eager: torch.nn.Module, engine: str, dtype: str
) -> None:
    require_compiler(engine)
    assert_answers_as_eager(folder, EAGER, engine, dtype, eager)


def test_weights_of_another_type_become_float32(folder: Path, eager: torch.nn.Module) -> None:
    halves = {name: value.half() for name, value in eager.state_dict().items()}
    torch.save(halves, folder / "halves.pth")
    loaded = load_model(folder, EAGER | {"serializedFile": "halves.pth"})
    output = loaded(images(2).numpy())
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, answers(eager, images(2)), 0, 0.01)


def test_eager_in_bfloat16(folder: Path, eager: torch.nn.Module) -> None:
    assert_answers_as_eager(folder, EAGER, "eager", "bfloat16", eager)


@pytest.mark.parametrize(
    ("model", "engine", "dtype", "said"),
    [
        (EAGER, "fast", "float32", "there is no engine 'fast': take one of auto, eager"),
        (EAGER, "eager", "int8", "engine 'eager' has no 'int8': it computes in float32"),
        (EAGER, "openvino", "float32", "does not run a model_file: it takes .xml or .onnx"),
        ({"serializedFile": "x.onnx"}, "onnxruntime", "bfloat16", "has no 'bfloat16'"),
        ({"serializedFile": "x.onnx"}, "compile", "float32", "does not run .onnx"),
    ],
)
def test_what_does_not_exist_is_refused(
    folder: Path, model: dict[str, str], engine: str, dtype: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        load_model(folder, model, engine, dtype)


def test_a_missing_engine_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match="pip install openvino"):
        load_model(folder, {"serializedFile": "plain.xml"})


def test_the_worker_and_the_check_know_the_same_engines() -> None:
    assert {name: one[:2] for name, one in checked.ENGINES.items()} == ENGINES
