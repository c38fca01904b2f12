"""Files of weights: read, and written anew, without torch; torch itself wrote and judges them."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import read_checkpoint, state_dict_problem
from marsmith.weights.dtypes import DTYPES
from marsmith.weights.pickle_names import is_hostile, is_tensor
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.safetensors import write_safetensors
from marsmith.weights.torch_writer import torch_tensor, write_torch_zip
from tests.codes import coded
from tests.unit.conftest import SavedByTorch


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
    for dtype, (_, size, _) in DTYPES.items():
        most = 2 if dtype == "bool" else 256
        values = torch.randint(0, most, (3, 4 * size), dtype=torch.uint8)
        state[f"as {dtype}"] = values.view(getattr(torch, dtype))
    return state


def values_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def save(value: Any, path: Path, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("out", ["out.pth", "out.safetensors"])
def test_every_tensor_comes_through_bit_for_bit(tmp_path: Path, legacy: bool, out: str) -> None:
    state = every_kind_of_tensor()
    if out.endswith("safetensors"):
        for dtype, (_, _, name) in DTYPES.items():
            if not name:
                del state[f"as {dtype}"]
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
        assert torch.equal(values_of(back[name]), values_of(one)), name
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


@pytest.mark.parametrize(
    "dtype",
    [d for d in DTYPES if d.startswith(("float", "bfloat")) and not d.startswith("float4")],
)
def test_nan_and_infinity_are_counted_as_torch_does(tmp_path: Path, dtype: str) -> None:
    torch.manual_seed(1)
    bits = torch.randint(0, 256, (DTYPES[dtype][1] * 20_000,), dtype=torch.uint8)
    values = bits.view(getattr(torch, dtype))
    tensors = read_checkpoint(save({"a": values}, tmp_path / "in.pth")).tensors
    assert tensors["a"].count_not_finite() == int((~values.double().isfinite()).sum())


def test_a_view_of_another_value_is_no_plain_tensor(tmp_path: Path) -> None:
    """Its bytes alone are not its values: they are conjugated, or negated, when it is read."""
    state = {
        "conjugated": torch.tensor([1 + 2j]).conj(),
        "negated": torch.tensor([1 + 2j]).conj().imag,
        "sparse": torch.eye(2).to_sparse(),
    }
    checkpoint = read_checkpoint(save(state, tmp_path / "in.pth"))
    assert not checkpoint.tensors
    assert all(isinstance(value, Inert) for value in checkpoint.value.values())


def test_a_tensor_with_attributes_is_a_tensor(tmp_path: Path) -> None:
    tensor, parameter = torch.ones(2), torch.nn.Parameter(torch.zeros(3))
    tensor.tag = parameter.tag = "mine"  # type: ignore[attr-defined]
    checkpoint = read_checkpoint(save({"a": tensor, "b": parameter}, tmp_path / "in.pth"))
    assert {name: one.shape for name, one in checkpoint.tensors.items()} == {"a": (2,), "b": (3,)}


@pytest.mark.parametrize("legacy", [False, True])
def test_tied_weights_stay_tied(tmp_path: Path, legacy: bool) -> None:
    layer = torch.nn.Linear(50, 50)
    state = torch.nn.ModuleDict({"encoder": layer, "decoder": layer}).state_dict()
    path = save(state, tmp_path / "in.pth", _use_new_zipfile_serialization=not legacy)
    with (tmp_path / "out.pth").open("wb") as file:
        write_torch_zip(file, read_checkpoint(path).tensors)
    back = torch.load(tmp_path / "out.pth", weights_only=True)
    assert back["encoder.weight"].data_ptr() == back["decoder.weight"].data_ptr()
    assert (tmp_path / "out.pth").stat().st_size < 15_000


class Outer:
    class Inner:
        pass


def test_objects_of_any_class_are_named_and_left_alone(tmp_path: Path) -> None:
    value = {
        "a": torch.ones(1),
        "nested": Outer.Inner(),
        "array": np.arange(3),
        "number": np.float64(2.5),
        "path": Path("x"),
        "args": Namespace(lr=0.1, layers=[1, 2]),
        "device": torch.device("cpu"),
    }
    checkpoint = read_checkpoint(save(value, tmp_path / "in.pth"))
    assert list(checkpoint.tensors) == ["a"]
    assert {"argparse.Namespace", "pathlib.PosixPath", "numpy.dtype"} <= checkpoint.foreign
    assert checkpoint.value["args"].name == "argparse.Namespace"
    assert "torch.device" not in checkpoint.foreign
    assert not checkpoint.hostile


def test_what_torch_itself_takes_for_weights_is_harmless() -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    assert [name for name in _get_allowed_globals() if not is_tensor(name)] == []


@pytest.mark.parametrize(
    "name",
    ["posix.system", "os.path.os.system", "builtins.eval", "subprocess.Popen", "torch.hub.load"],
)
def test_attacks_are_told_from_other_code(name: str) -> None:
    assert is_hostile(name)
    assert not is_tensor(name)
    assert not is_hostile("code.models.Net")


def zip_of(path: Path, pickled: bytes, **more: Any) -> Path:
    with zipfile.ZipFile(path, "w", more.pop("compression", zipfile.ZIP_STORED)) as archive:
        for name, content in {"data.pkl": pickled, **more}.items():
            archive.writestr(f"archive/{name}", content)
    return path


def test_a_file_without_checksums_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = save({"a": torch.ones(5)}, tmp_path / "in.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert np.frombuffer(read_checkpoint(path).tensors["a"].read(), "<f4").tolist() == [1] * 5


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    path = save({"a": torch.full((1000,), 0.1)}, tmp_path / "in.pth")
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(0.1).tobytes() * 2) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, check=coded("weights-damaged")):
        read_checkpoint(path).tensors["a"].read()


@pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
def test_a_compressed_zip_is_refused_before_it_unfolds(tmp_path: Path, entry: str) -> None:
    path = save({"a": torch.zeros(100_000)}, tmp_path / "in.pth")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "bomb.pth", "w") as bomb:
        for name in archive.namelist():
            method = zipfile.ZIP_DEFLATED if name.endswith(entry) else zipfile.ZIP_STORED
            bomb.writestr(name, archive.read(name), method)
    with pytest.raises(WeightsError, check=coded("weights-compressed")):
        read_checkpoint(tmp_path / "bomb.pth")


NESTED_TUPLES = b"(t" + (pickle.DUP + pickle.TUPLE2) * 90
DEEP_TUPLES = b"(t" + pickle.TUPLE1 * 500_000
BOMBS = {
    "memo": b"N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f.",
    "bytes": pickle.BINBYTES8 + b"\0\0\0\0\xff\0\0\0.",
    "bytearray": pickle.BYTEARRAY8 + b"\0\0\0\0\xff\0\0\0.",
    "frame": pickle.FRAME + b"\0\0\0\0\xff\0\0\0N.",
    "hash": b"}" + NESTED_TUPLES + b"Ns.",
    "depth": b"}" + DEEP_TUPLES + b"Ns.",
    "copies": b"(" + b"N" * 100_000 + b"l" + b"0" + b".",
    "itself": b"]q\0" + b"(" + b"h\0" * 100 + b"e.",
    "lists in lists": b"]" + b"q\0](h\0h\0e" * 100 + b".",
    "build a class": b"ccollections\nOrderedDict\n}X\1\0\0\0aNsb.",
    "build a function": b"ctorch._utils\n_rebuild_tensor\nN}X\1\0\0\0aNs\x86b.",
    "call a text": b"X\1\0\0\0a)R.",
    "items of a function": b"ctorch._utils\n_rebuild_tensor\nNNs.",
}


@pytest.mark.parametrize("pickled", BOMBS.values(), ids=BOMBS)
def test_a_small_file_asks_neither_for_all_memory_nor_for_all_time(
    tmp_path: Path, pickled: bytes
) -> None:
    path = zip_of(tmp_path / "bomb.pth", pickle.PROTO + b"\x04" + pickled)
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from pathlib import Path\n"
        "from marsmith.weights.checkpoint import read_checkpoint\n"
        "from marsmith.core.errors import WeightsError\n"
        "try:\n    read_checkpoint(Path(sys.argv[1])).tensors\n"
        "except WeightsError as error:\n    assert error.hint\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_a_tensor_that_repeats_itself_without_end_is_refused(tmp_path: Path) -> None:
    state = {"a": torch.ones(1).expand(1 << 40), "b": torch.ones(2, 1).expand(2, 1000)}
    tensors = read_checkpoint(save(state, tmp_path / "in.pth")).tensors
    with pytest.raises(WeightsError, check=coded("weights-repeated-values")):
        tensors["a"].read()
    assert tensors["b"].read() == np.ones(2000, "<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "weights-empty"),
        (b"x" * 600, "weights-format"),
        (b"\0" * 257 + b"ustar" + b"\0" * 300, "weights-tar"),
        (b"\x10\0\0\0\0\0\0\0{", "weights-damaged"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "weights-damaged"),
        (b"\x02\0\0\0\0\0\0\0{]", "weights-damaged"),
        (b"\x08\0\0\0\0\0\0\0" + b'{"a":[]}', "weights-damaged"),
    ],
)
def test_what_is_no_file_of_weights_is_an_error_with_a_hint(
    tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "in.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, check=coded(code)):
        read_checkpoint(path)


def test_a_legacy_file_may_name_storages_of_a_gpu(tmp_path: Path, saved: SavedByTorch) -> None:
    """PyTorch before 0.4 did, and read them back onto whatever there was."""
    whole = saved.state_dict_legacy
    path = tmp_path / "in.pth"
    path.write_bytes(whole.replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage"))
    assert path.read_bytes() != whole
    checkpoint = read_checkpoint(path)
    assert checkpoint.tensors["0.weight"].shape == (2, 2)
    assert checkpoint.foreign == frozenset()


def test_values_of_a_big_endian_machine_are_not_taken_for_ours(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "in.pth", pickle.dumps({}), byteorder=b"big")
    with pytest.raises(WeightsError, check=coded("weights-big-endian")):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": None, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1]},
        7,
    ],
)
def test_safetensors_with_a_wrong_header_are_refused(tmp_path: Path, entry: Any) -> None:
    header = json.dumps({"a": entry}).encode()
    path = tmp_path / "in.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(WeightsError):
        read_checkpoint(path)


# ---- state_dict_problem


@pytest.mark.parametrize("name", ["state_dict_zip", "state_dict_legacy", "torchscript"])
def test_sound_files_have_no_problem(tmp_path: Path, saved: SavedByTorch, name: str) -> None:
    (tmp_path / "net.pth").write_bytes(getattr(saved, name))
    assert state_dict_problem(tmp_path / "net.pth") is None


@pytest.mark.parametrize("name", ["state_dict_zip_protocol_4", "state_dict_legacy_protocol_4"])
def test_a_state_dict_of_a_newer_pickle_protocol_has_no_problem(
    tmp_path: Path, saved: SavedByTorch, name: str
) -> None:
    """Protocol 4 has frames, and takes names from its memo: not always the last two strings."""
    (tmp_path / "net.pth").write_bytes(getattr(saved, name))
    assert state_dict_problem(tmp_path / "net.pth") is None


@pytest.mark.parametrize("name", ["module_zip", "module_legacy"])
def test_a_whole_module_is_named_by_its_classes(
    tmp_path: Path, saved: SavedByTorch, name: str
) -> None:
    (tmp_path / "net.pth").write_bytes(getattr(saved, name))
    found = state_dict_problem(tmp_path / "net.pth")
    assert found is not None
    assert found.code == "weights-module"
    assert "torch.nn.modules.linear.Linear" in found.message


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "executed",)

    parts: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {}, OrderedDict(a=Trap()), [])
    (tmp_path / "net.pth").write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    found = state_dict_problem(tmp_path / "net.pth")
    assert found is not None
    assert "pathlib" in found.message
    assert not (tmp_path / "executed").exists()


def test_an_empty_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "net.pth").touch()
    found = state_dict_problem(tmp_path / "net.pth")
    assert found is not None
    assert found.code == "weights-empty"


@pytest.mark.parametrize("kept", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_zip_cut_off_anywhere_is_damaged(
    tmp_path: Path, saved: SavedByTorch, kept: float
) -> None:
    whole = saved.state_dict_zip
    (tmp_path / "net.pth").write_bytes(whole[: int(kept * len(whole))])
    found = state_dict_problem(tmp_path / "net.pth")
    assert found is not None
    assert found.code == "weights-damaged"


@pytest.mark.parametrize("kept", [0.01, 0.2, 0.5, 0.7])
def test_a_legacy_file_cut_off_in_its_pickles_is_damaged(
    tmp_path: Path, saved: SavedByTorch, kept: float
) -> None:
    whole = saved.state_dict_legacy
    (tmp_path / "net.pth").write_bytes(whole[: int(kept * len(whole))])
    assert state_dict_problem(tmp_path / "net.pth") is not None


@pytest.mark.parametrize(
    "content",
    [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"<!DOCTYPE html>"],
    ids=["a git-lfs pointer", "a web page"],
)
def test_a_text_in_place_of_weights_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    assert state_dict_problem(tmp_path / "net.pth") is not None


def test_one_tensor_is_written_as_torch_saves_it() -> None:
    values = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    body = torch_tensor((2, 3), values.numpy().tobytes())
    assert torch.equal(torch.load(io.BytesIO(body), weights_only=True), values)
