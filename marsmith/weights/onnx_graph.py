"""ONNX files: their graph and tensors, read with the onnx package; no code runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from marsmith.core.errors import WeightsError
from marsmith.weights.dtypes import DTYPES
from marsmith.weights.pt2 import Program
from marsmith.weights.tensors import Storage, Tensor, contiguous

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto, ValueInfoProto

# onnx's names of dtypes that torch names differently.
_NAMES = {"float": "float32", "double": "float64", "float8e4m3fn": "float8_e4m3fn"}
_NAMES |= {"float8e4m3fnuz": "float8_e4m3fnuz", "float8e5m2": "float8_e5m2"}
_NAMES |= {"float8e5m2fnuz": "float8_e5m2fnuz", "float8e8m0": "float8_e8m0fnu"}
_AGAIN = "export the model again"


@dataclass(eq=False)
class _Initializer(Storage):
    """The values of a tensor inside the graph, in one of onnx's several encodings."""

    tensor: TensorProto | None = None

    def read(self, start: int, length: int) -> bytes:
        from onnx import numpy_helper

        if self.tensor is None or self.tensor.data_location:
            raise WeightsError(
                "the tensor's values are in another file, beside the ONNX file",
                "export the model into one file: onnx.save(model, FILE)",
                code="weights-external-values",
            )
        try:
            return numpy_helper.to_array(self.tensor).tobytes()[start : start + length]
        except Exception as error:  # of a damaged file
            raise WeightsError(
                "a tensor of the ONNX file is damaged", _AGAIN, code="weights-damaged"
            ) from error


def read_onnx(path: Path) -> Program:
    """Return a model's graph and tensors. Raises WeightsError."""
    import onnx  # slow to import, and few archives hold such a file

    try:
        model = onnx.load(path, load_external_data=False)
        return _program(path, model)
    except WeightsError:
        raise
    except Exception as error:  # protobuf and onnx raise exceptions of many kinds
        raise WeightsError(
            "the ONNX file is cut off or damaged", _AGAIN, code="weights-damaged"
        ) from error


def _program(path: Path, model: ModelProto) -> Program:
    graph = model.graph
    if not graph.node:
        raise WeightsError("the ONNX file holds no graph", _AGAIN, code="weights-damaged")
    tensors = {one.name: _tensor(path, one) for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in tensors]
    versions = [str(one.version) for one in model.opset_import if not one.domain]
    writer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    return Program(
        {name: tensor for name, tensor in tensors.items() if tensor},
        Counter(node.op_type for node in graph.node),
        tuple(map(_signature, inputs)),
        tuple(map(_signature, graph.output)),
        ", ".join(filter(None, (writer, f"opset {versions[0]}" if versions else ""))),
    )


def outside_values(path: Path) -> str | None:
    """Return where an ONNX file takes values from outside of its folder; None if from nowhere.

    Every tensor counts: constants, subgraphs and functions have some too. Raises WeightsError.
    """
    import onnx
    from onnx.external_data_helper import _get_all_tensors

    try:
        model = onnx.load(path, load_external_data=False)
        locations = [
            one.value
            for tensor in _get_all_tensors(model)
            for one in tensor.external_data
            if one.key == "location"
        ]
    except Exception as error:  # protobuf and onnx raise exceptions of many kinds
        raise WeightsError(
            "the ONNX file is cut off or damaged", _AGAIN, code="weights-damaged"
        ) from error
    return next((one for one in locations if _leads_out(one)), None)


def _leads_out(location: str) -> bool:
    parts = PurePosixPath(location.replace("\\", "/")).parts
    return ".." in parts or parts[:1] == ("/",) or ":" in location[:3]


def _dtype(number: int) -> str:
    import onnx

    name: str = onnx.TensorProto.DataType.Name(number).lower()
    return _NAMES.get(name, name)


def _tensor(path: Path, tensor: TensorProto) -> Tensor | None:
    dtype, shape = _dtype(tensor.data_type), tuple(tensor.dims)
    if dtype not in DTYPES:
        return None
    size = DTYPES[dtype][1]
    for one in shape:
        size *= one
    storage = _Initializer(path, 0, size, tensor=tensor)
    return Tensor(dtype, shape, storage, 0, contiguous(shape))


def _signature(value: ValueInfoProto) -> str:
    kind = value.type.tensor_type
    sizes: list[Any] = [one.dim_param or one.dim_value for one in kind.shape.dim]
    return f"{value.name}: {_dtype(kind.elem_type)}[{', '.join(map(str, sizes))}]"
