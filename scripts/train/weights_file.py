"""Write weights together with the card that says how they came about."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import torch
from environment import fail
from torch import Tensor, nn


def check_writable(out: Path) -> None:
    """End the script now rather than after the training if the weights have nowhere to go."""
    folder = next(parent for parent in out.resolve().parents if parent.exists())
    if out.is_dir() or not os.access(folder, os.W_OK):
        fail(f"{out} cannot be written", "give another place with --out")


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's state_dict as plain contiguous tensors; floating point as float32."""
    return {
        key: (value.float() if value.is_floating_point() else value).cpu().contiguous()
        for key, value in model.state_dict().items()
    }


def write_weights(out: Path, state: dict[str, Tensor], card: str) -> None:
    """Write the state_dict and, beside it, the card; each appears whole or not at all."""
    stream = io.BytesIO()
    torch.save(state, stream)
    try:
        write_beside(out, stream.getvalue())
        write_beside(out.with_suffix(".md"), card.encode())
        out.with_name(out.name + ".resume").unlink(missing_ok=True)
    except OSError as error:
        fail(f"{out} cannot be written: {error}", "give another place with --out")
    print(f"wrote {out} and {out.with_suffix('.md').name}")


def write_beside(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
