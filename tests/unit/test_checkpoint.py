"""Files of weights: read, and written anew, without torch; torch itself wrote and judges them."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from marsmith.checkpoint import read_checkpoint
from marsmith.errors import WeightsError
from marsmith.state_dict_file import write_safetensors, write_torch_zip
from marsmith.tensors import DTYPES

from .conftest import SavedByTorch


def every_kind_of_tensor() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(6, 5)
    state = {
        "transposed": base.t(),
        "strided": base[::2, 1:4],
        "part": base.view(-1)[3:11],
        "shared": base,
        "shared again": base,
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "expanded": torch.ones(3, 1).expand(3, 4),
        "with gradient": torch.nn.Parameter(torch.randn(2)),
        "naïve.名": torch.arange(3),
    }
    for dtype in DTYPES:
        values = torch.randint(0, 2, (3, 4)).to(getattr(torch, dtype))
        state[f"as {dtype}"] = values
    return state


def values_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def save(value: Any, path: Path, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("out", ["out.pth", "out.safetensors"])
def test_every_tensor_comes_through_bit_for_bit(tmp_path: Path, legacy: bool, out: str) -> None:
    state = every_kind_of_tensor()
    if out.endswith("safetensors"):
        del state["as complex128"]
    path = save(state, tmp_path / "in.pth", _use_new_zipfile_serialization=not legacy)
    tensors = read_checkpoint(path).tensors
    assert {name: one.shape for name, one in tensors.items()} == {
        name: tuple(one.shape) for name, one in state.items()
    }
    with (tmp_path / out).open("wb") as file:
        (write_torch_zip if out.endswith("pth") else write_safetensors)(file, tensors)
    if out.endswith("pth"):
        back = torch.load(tmp_path / out, weights_only=True, mmap=True)
        assert back["shared"].data_ptr() == back["shared again"].data_ptr()
    else:
        back = load_file(tmp_path / out)
    assert back.keys() == state.keys()
    for name, one in state.items():
        assert back[name].dtype == one.dtype, name
        assert back[name].shape == one.shape, name
        as_bytes = [
            t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (back[name], one)
        ]
        assert torch.equal(*as_bytes), name
    again = io.BytesIO()
    (write_torch_zip if out.endswith("pth") else write_safetensors)(again, tensors)
    assert again.getvalue() == (tmp_path / out).read_bytes()


def test_what_is_written_can_be_mapped_and_assigned(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    tensors = read_checkpoint(save(network.state_dict(), tmp_path / "in.pth")).tensors
    with (tmp_path / "out.pth").open("wb") as file:
        write_torch_zip(file, tensors)
    state = torch.load(tmp_path / "out.pth", weights_only=True, mmap=True)
    assert all(tensor.data_ptr() % 64 == 0 for tensor in state.values())
    other = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    other.load_state_dict(state, assign=True)
    with torch.inference_mode():
        images = torch.ones(2, 3)
        assert torch.equal(other.eval()(images), network.eval()(images))


def test_safetensors_are_read(tmp_path: Path) -> None:
    state = {"a": torch.randn(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}
    save_file(state, tmp_path / "in.safetensors", {"format": "pt"})
    checkpoint = read_checkpoint(tmp_path / "in.safetensors")
    assert (checkpoint.kind, checkpoint.foreign) == ("safetensors", frozenset())
    values = np.frombuffer(checkpoint.tensors["a"].read(), "<f4").reshape(2, 3)
    assert np.array_equal(values, state["a"].numpy())


@pytest.mark.parametrize("legacy", [False, True])
def test_what_stands_beside_tensors_is_kept(tmp_path: Path, legacy: bool) -> None:
    value = {
        "epoch": 7,
        "best": 0.5,
        "name": "resnet",
        "classes": ["a", "b"],
        "seen": {1, 2},
        "raw": b"\x00\xff",
        "history": defaultdict(list, {"loss": [1.0]}),
        "size": torch.Size([1, 2]),
        "state_dict": OrderedDict(w=torch.ones(2)),
    }
    path = save(value, tmp_path / "in.pth", _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(path)
    assert read.value["epoch"] == 7
    assert read.value["classes"] == ["a", "b"]
    assert read.value["seen"] == {1, 2}
    assert read.value["raw"] == b"\x00\xff"
    assert read.value["history"] == {"loss": [1.0]}
    assert read.value["size"] == (1, 2)
    assert list(read.tensors) == ["state_dict.w"]
    assert read.foreign == frozenset()
    assert read.kind == ("PyTorch legacy pickle" if legacy else "PyTorch zip")


@pytest.mark.parametrize("name", ["module_zip", "module_legacy", "torchscript"])
def test_modules_are_looked_into_and_not_imported(
    tmp_path: Path, saved: SavedByTorch, name: str
) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(getattr(saved, name))
    checkpoint = read_checkpoint(path)
    assert checkpoint.is_module
    assert {"0.weight", "0.bias", "1.running_mean"} <= checkpoint.tensors.keys()
    assert checkpoint.kind.startswith("TorchScript" if name == "torchscript" else "PyTorch")


class Trap:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_named_and_never_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "executed"
    value = {
        "a": torch.ones(1),
        "trap": Trap(os.system, f"touch {mark}"),
        "p": Trap(Path.touch, mark),
    }
    path = save(value, tmp_path / "in.pth", pickle_protocol=protocol)
    checkpoint = read_checkpoint(path)
    assert {"posix.system"} <= checkpoint.foreign
    assert list(checkpoint.tensors) == ["a"]
    assert not mark.exists()


def test_a_tensor_that_claims_more_than_there_is_allocates_nothing(tmp_path: Path) -> None:
    path = save({"a": torch.ones(4)}, tmp_path / "in.pth")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    pickled = entries[name]
    huge = pickle.BININT + (2_000_000_000).to_bytes(4, "little")
    assert pickled.count(pickle.BININT1 + b"\x04") == 2  # the storage's count, and the shape
    for place, count in ((0, 1), (1, 2)):
        head, *rest = pickled.split(pickle.BININT1 + b"\x04")
        parts = [huge if i >= place else pickle.BININT1 + b"\x04" for i in range(count)]
        parts += [pickle.BININT1 + b"\x04"] * (2 - count)
        changed = head + b"".join(part + tail for part, tail in zip(parts, rest, strict=True))
        with zipfile.ZipFile(tmp_path / "huge.pth", "w") as archive:
            for entry, content in entries.items():
                archive.writestr(entry, changed if entry == name else content)
        with pytest.raises(WeightsError):
            read_checkpoint(tmp_path / "huge.pth").tensors["a"].read()


@pytest.mark.parametrize(
    "name", ["state_dict_zip", "state_dict_legacy", "module_zip", "torchscript"]
)
def test_a_file_cut_off_anywhere_is_an_error_with_a_hint(
    tmp_path: Path, saved: SavedByTorch, name: str
) -> None:
    whole = getattr(saved, name)
    path = tmp_path / "net.pth"
    for length in range(0, len(whole), 41):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError) as caught:
            for tensor in read_checkpoint(path).tensors.values():
                tensor.read()
        assert caught.value.hint


@pytest.mark.parametrize("name", ["state_dict_zip", "state_dict_legacy"])
def test_a_damaged_file_never_ends_in_another_error(
    tmp_path: Path, saved: SavedByTorch, name: str
) -> None:
    whole = getattr(saved, name)
    rng = np.random.default_rng(0)
    path = tmp_path / "net.pth"
    for _ in range(400):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            for tensor in read_checkpoint(path).tensors.values():
                tensor.read()
        except WeightsError as error:
            assert error.hint


def test_nan_and_infinity_are_counted(tmp_path: Path) -> None:
    bad = torch.tensor([1.0, float("nan"), float("inf"), -2.0])
    state = {dtype: bad.to(getattr(torch, dtype)) for dtype in ("float32", "float16", "bfloat16")}
    state["int64"] = torch.arange(4)
    tensors = read_checkpoint(save(state, tmp_path / "in.pth")).tensors
    counts = {name: one.count_not_finite() for name, one in tensors.items()}
    assert counts == {"float32": 2, "float16": 2, "bfloat16": 2, "int64": 0}
