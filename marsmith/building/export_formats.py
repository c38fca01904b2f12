"""The formats that a model is exported to, and the engine that runs each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A format: the endings of its files, its engine, and the engine's dtypes."""

    endings: tuple[str, ...]
    engine: str
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


FORMATS = {
    "torchscript-trace": Format((".pt",), "torchscript"),
    "torchscript-script": Format((".pt",), "torchscript"),
    "torch-export": Format((".pt2",), "eager"),
    "onnx": Format((".onnx",), "onnxruntime", ("float32", "int8")),
    "openvino": Format((".xml", ".bin"), "openvino", ("float32", "bfloat16", "int8")),
    "aotinductor": Format((".pt2",), "aotinductor"),
}
DTYPES = ("float32", "bfloat16", "int8")
