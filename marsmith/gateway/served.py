"""What the web process of a gateway is told by its supervisor; no IO."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Served:
    """A version to serve from the start; None leaves a value to the archive's model-config."""

    name: str
    file: str  # in the store
    default: bool = True
    min_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay: int | None = None  # ms
    response_timeout: int | None = None  # seconds


@dataclass(frozen=True)
class Settings:
    """Where a gateway works, and with what. Paths are absolute."""

    backend: str  # "local" or "torchserve"
    project: str  # its root
    store: str  # the folder of the archives that it serves
    log_folder: str
    properties: Mapping[str, str]  # config.properties, made safe
    served: tuple[Served, ...]
    grpc: Mapping[str, str] = field(default_factory=dict)  # a listener's name → HOST:PORT
    options: Mapping[str, Any] = field(default_factory=dict)  # of GatewayOptions
    gateway: Mapping[str, Any] = field(default_factory=dict)  # [gateway] of archives.toml
    # What its supervisor adds when it starts the web process:
    folder: str = ""  # the server's own temporary folder
    listeners: Mapping[str, int] = field(default_factory=dict)  # a listener's name → its descriptor
    keeper: int = -1  # the descriptor of the socket to the keeper of workers
    again: bool = False  # whether an earlier web process served them

    @property
    def model_api(self) -> bool:
        """Whether callers without a key may register models, as TorchServe reads it."""
        return self.properties.get("enable_model_api", "").strip().lower() == "true"


def format_settings(settings: Settings) -> bytes:
    """Write them as JSON."""
    return json.dumps(asdict(settings)).encode()


def parse_settings(text: bytes) -> Settings:
    """Read what `format_settings` wrote."""
    values = json.loads(text)
    values["served"] = tuple(Served(**one) for one in values["served"])
    return Settings(**values)


def served_of(properties: Mapping[str, str], files: Mapping[str, str]) -> tuple[Served, ...]:
    """Return what a server starts with: a snapshot (version_record.py), or archives' files."""
    if "model_snapshot" not in properties:
        return tuple(Served(name, file) for name, file in files.items())
    models = json.loads(properties["model_snapshot"])["models"]
    return tuple(
        Served(
            name,
            one["marName"],
            one["defaultVersion"],
            one["minWorkers"],
            one["maxWorkers"],
            # 0 is what nobody has told yet
            one["batchSize"] or None,
            one["maxBatchDelay"] if one["batchSize"] else None,
            one["responseTimeout"] or None,
        )
        for name, versions in models.items()
        for one in versions.values()
    )
