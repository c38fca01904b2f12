"""Describe an answer that torch.save wrote: which tensors it holds, without loading it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import read_checkpoint

TORCH_START = b"PK\x03\x04"  # torch.save writes a zip
_SHOWN = 3


def tensors_of(body: bytes) -> str:
    """Return the types and shapes of the tensors in a body; empty if it holds none."""
    if not body.startswith(TORCH_START):
        return ""
    with tempfile.NamedTemporaryFile(prefix="marsmith-", suffix=".pt") as file:
        file.write(body)
        file.flush()
        try:
            found = list(read_checkpoint(Path(file.name)).tensors.values())
        except WeightsError:
            return ""
    shown = [f"{one.dtype} {' x '.join(map(str, one.shape)) or 'scalar'}" for one in found[:_SHOWN]]
    rest = [f"{len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return f"tensor{'s' if len(found) > 1 else ''} {', '.join([*shown, *rest])}" if found else ""
