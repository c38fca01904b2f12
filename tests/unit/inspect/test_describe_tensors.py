"""Answers that torch.save wrote."""

from __future__ import annotations

import io
import zipfile

import pytest

from marsmith.inspect.describe_tensors import tensors_of
from marsmith.weights.torch_writer import torch_tensor


def test_a_tensor_is_named_by_type_and_shape() -> None:
    assert tensors_of(torch_tensor((1, 3, 2), bytes(24))) == "tensor float32 1 x 3 x 2"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "a")
    return buffer.getvalue()


@pytest.mark.parametrize("body", [b"", b"text", b"PK\x03\x04", _zip()])
def test_other_bodies_hold_none(body: bytes) -> None:
    assert tensors_of(body) == ""
