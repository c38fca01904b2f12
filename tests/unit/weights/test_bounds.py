"""Readers of weights refuse what would take all memory, with a code and within a limit."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import read_checkpoint
from marsmith.weights.onnx_graph import outside_values
from tests.codes import coded

_MORE = 200 << 20  # bytes that a reader may take


def safetensors(header: bytes, values: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + values


def torch_zip(pickled: bytes) -> bytes:
    return b"\x80\x04" + pickled + b"."


def tensors(count: int, **changes: object) -> bytes:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}
    return json.dumps({f"a{number}": entry for number in range(count)}).encode()


BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "dimensions": (
        "safetensors",
        lambda: safetensors(tensors(1, shape=[1] * 900_000), b"\0" * 4),
        "weights-too-many-values",
    ),
    "tensors": (
        "safetensors",
        lambda: safetensors(tensors(200_000), b"\0" * 4),
        "weights-too-many-values",
    ),
    "a large header": (
        "safetensors",
        lambda: safetensors(b'{"a":"' + b"x" * 90_000_000 + b'"}'),
        "weights-too-many-values",
    ),
    "lists": (
        "safetensors",
        lambda: safetensors(b'{"a":[' + b"[]" * 7_000_000 + b"]}"),
        "weights-too-many-values",
    ),
    "depth": (
        "safetensors",
        lambda: safetensors(b'{"a":' + b'{"b":' * 90_000),
        "weights-damaged",
    ),
    "a huge size": (
        "safetensors",
        lambda: safetensors(tensors(1, shape=[1 << 90, 0], data_offsets=[0, 0])),
        "weights-damaged",
    ),
    "overlaps": (
        "safetensors",
        lambda: safetensors(tensors(9, shape=[99], data_offsets=[0, 396]), b"\0" * 396),
        "weights-damaged",
    ),
    "opcodes": ("pth", lambda: torch_zip(b"N0" * 1_500_000), "weights-too-many-values"),
    "memo": ("pth", lambda: torch_zip(b"}\x94" * 1_500_000), "weights-too-many-values"),
    "marks": ("pth", lambda: torch_zip(b"(" * 3_000_000), "weights-too-many-values"),
    "names": (
        "pth",
        lambda: torch_zip(b"".join(b"ca\nb%d\n" % one for one in range(200_000))),
        "weights-too-many-values",
    ),
    "a huge number": (
        "pth",
        lambda: torch_zip(pickle.LONG4 + struct.pack("<i", 20_000_000) + b"\x7f" * 20_000_000),
        "weights-damaged",
    ),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_a_limit(tmp_path: Path, name: str) -> None:
    kind, content, expected = BOMBS[name]
    path = tmp_path / f"bomb.{kind}"
    if kind == "pth":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content())
    else:
        path.write_bytes(content())
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from marsmith.core.errors import WeightsError\n"
        "from marsmith.weights.checkpoint import read_checkpoint\n"
        "with open('/proc/self/statm') as file:\n"
        f"    size = int(file.read().split()[0]) * resource.getpagesize() + {_MORE}\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "try:\n    read_checkpoint(Path(sys.argv[1])).tensors\n"
        "except WeightsError as error:\n    print(error.code)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    told = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert (told.stdout.strip(), told.stderr) == (expected, "")


def test_a_gap_between_tensors_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors(tensors(1, data_offsets=[4, 8]), b"\0" * 8))
    with pytest.raises(WeightsError, check=coded("weights-damaged")):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("location", "outside"),
    [
        ("/etc/passwd", True),
        ("../weights.bin", True),
        ("a/../../b", True),
        ("..\\b", True),
        ("C:\\b", True),
        ("weights.bin", False),
        ("data/..weights", False),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_values_outside_of_the_folder_are_found(
    tmp_path: Path, location: str, outside: bool, constant: bool
) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value=location)
    node = onnx.helper.make_node("Constant", [], ["w"], value=tensor)
    add = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    places = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    nodes, initial = ([node, add], []) if constant else ([add], [tensor])
    graph = onnx.helper.make_graph(nodes, "g", places[:1], places[1:], initial)
    (tmp_path / "a.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    assert outside_values(tmp_path / "a.onnx") == (location if outside else None)
