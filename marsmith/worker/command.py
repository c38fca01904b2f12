"""What a worker's process is started with: its program, its environment and its archive's files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.project.accepted_code import refuse_code
from marsmith.torchserve.environment import METRICS_CONFIG, clean_environment, torchserve_home

PROGRAMS = Path(__file__).parents[1] / "programs"
_CACHES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_DATASETS_CACHE")


def unpack(archive: Archive, folder: Path, accepted: Collection[str] | None) -> Path:
    """Unpack an archive as the front end does, and return where: models/ and 32 hexadecimal digits.

    Raises ArchiveError, also for a file whose code is not accepted.
    """
    model = folder.resolve() / "models" / uuid.uuid4().hex
    model.mkdir(parents=True)
    archive.unpack(model)
    # Not before: what is searched is what is loaded, whatever happens to the archive.
    refuse_code(archive, accepted, model)
    return model


def worker_arguments(address: Path, *, torchserve: bool) -> list[str]:
    """Return Python's arguments for TorchServe's worker, or for the light one."""
    package = torchserve_home() / "ts" if torchserve else None
    program = package / "model_service_worker.py" if package else PROGRAMS / "light_worker.py"
    metrics = package / "configs" / "metrics.yaml" if package else METRICS_CONFIG
    options = ["--metrics-config", metrics, "--sock-type", "unix", "--sock-name", address]
    return [str(program), *map(str, options)]


def worker_environment(model: Path, *, without_caches: bool = False) -> dict[str, str]:
    """Return the environment of a worker for the archive unpacked at `model`, `FOLDER/models/…`.

    `without_caches` lets libraries look for their downloads in empty folders: a filled one hides a
    download.
    """
    folder = model.parents[1]
    found = clean_environment(os.environ, folder)
    found |= {"PYTHONPATH": f"{model}{os.pathsep}", "TS_DECODE_INPUT_REQUEST": "true"}
    if not without_caches:
        return found
    kept = {key: value for key, value in found.items() if key not in _CACHES}
    return kept | {"TORCH_HOME": f"{folder}/torch", "HF_HOME": f"{folder}/huggingface"}
