"""Files of torch.export.save: a zip of JSON and raw tensors. No code runs.

Format: torch/export/pt2_archive/constants.py and torch/_export/serde/schema.py of PyTorch 2.9
and newer. Files of older versions are recognised, but not read.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.core.errors import WeightsError
from marsmith.weights.tensors import Storage, Tensor
from marsmith.weights.torch_zip import storage_of

_FORMAT = "archive_format"
_BEFORE_2_9 = "serialized_exported_program.json"
_WEIGHTS = "data/weights/"
_PROGRAM = "models/model.json"
_SYMBOL = re.compile(r"Symbol\('(\w+)'[^)]*\)")
_DTYPES = {  # ScalarType of the schema
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}


@dataclass(frozen=True)
class Program:
    """A graph of operators with its tensors; inputs and outputs as `name: dtype[shape]`."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    writer: str = ""


def is_exported_program(names: list[str]) -> bool:
    """Return whether a zip with these names is an exported program."""
    return any(name == _BEFORE_2_9 or name.endswith(f"/{_FORMAT}") for name in names)


def read_exported_program(path: Path, file: BinaryIO) -> Program:
    """Read the program, but not the values of its tensors. Raises WeightsError, OSError."""
    try:
        return _read(path, file)
    except (WeightsError, OSError):
        raise
    except Exception as error:  # a damaged file can raise anything
        hint = "export the model again"
        message = "the exported program is damaged"
        raise WeightsError(message, hint, code="weights-damaged") from error


def _read(path: Path, file: BinaryIO) -> Program:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if _PROGRAM not in entries:
            return Program()
        program = json.loads(archive.read(entries[_PROGRAM]))
        config = f"{_WEIGHTS}model_weights_config.json"
        weights = json.loads(archive.read(entries[config]))["config"] if config in entries else {}
    tensors = {
        name: _tensor(
            entry["tensor_meta"],
            storage_of(path, file, entries[_WEIGHTS + entry["path_name"]]),
        )
        for name, entry in weights.items()
        if not entry["use_pickle"]  # only subclasses of Tensor are pickled
    }
    graph = program["graph_module"]["graph"]
    return Program(
        tensors,
        Counter(_operator(node["target"]) for node in graph["nodes"]),
        _arguments(program["graph_module"]["signature"]["input_specs"], "user_input", graph),
        _arguments(program["graph_module"]["signature"]["output_specs"], "user_output", graph),
        f"PyTorch {program['torch_version']}" if program.get("torch_version") else "",
    )


def _tensor(meta: Any, storage: Storage) -> Tensor:
    dtype = _DTYPES[meta["dtype"]]
    shape, stride = (tuple(one["as_int"] for one in meta[key]) for key in ("sizes", "strides"))
    return Tensor(dtype, shape, storage, meta["storage_offset"]["as_int"], stride)


def _operator(target: str) -> str:
    return target.removeprefix("torch.ops.").removeprefix("aten.").partition(".")[0]


def _arguments(specs: Any, kind: str, graph: Any) -> tuple[str, ...]:
    """Return the inputs or outputs of the program, without its own tensors."""
    names = [
        spec[kind]["arg"]["as_tensor"]["name"]
        for spec in specs
        if "as_tensor" in spec.get(kind, {}).get("arg", {})
    ]
    return tuple(f"{name}: {_signature(graph['tensor_values'][name])}" for name in names)


def _signature(meta: Any) -> str:
    sizes = [one["as_int"] if "as_int" in one else _symbol(one) for one in meta["sizes"]]
    return f"{_DTYPES.get(meta['dtype'], 'tensor')}[{', '.join(map(str, sizes))}]"


def _symbol(size: Any) -> str:
    """Shorten `Symbol('s77', positive=True, integer=True)` to `s77`, also within a formula."""
    return _SYMBOL.sub(r"\1", str(size.get("as_expr", {}).get("expr_str", "N")))
