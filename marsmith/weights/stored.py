"""Say whether a file can be an archive's state_dict; nothing in it is executed."""

from __future__ import annotations

from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import read_checkpoint


def problem(path: Path) -> tuple[str, str] | None:
    """Say why a file cannot be a state_dict, with a hint, or None where nothing speaks against it.

    Recognised: an empty file, one that is cut off or damaged, a pickled module.
    """
    try:
        checkpoint = read_checkpoint(path)
    except WeightsError as error:
        return error.message, error.hint
    if checkpoint.foreign and checkpoint.kind != "TorchScript":
        return (
            f"the file pickles more than tensors: {', '.join(sorted(checkpoint.foreign))}",
            "save the state_dict alone: torch.save(model.state_dict(), FILE)",
        )
    return None
