"""The configurations that `marsmith tune` can try, and how a spec expresses them; no IO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from marsmith.project.spec import ArchiveSpec

_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_DELAYS = (1, 2, 5, 10, 20, 50, 100)  # ms
# TorchServe's defaults (ModelArchive, ConfigManager.java).
_DEFAULT_BATCH_SIZE = 1
_DEFAULT_DELAY = 100  # ms
_TUNED_SERVING = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay")
_TUNED_HANDLER = ("threads", "engine", "dtype")


@dataclass(frozen=True)
class Variant:
    """A model's engine, dtype and file. Without an engine, all are as in the spec."""

    engine: str | None = None
    dtype: str | None = None
    kind: str | None = None  # the export format, if the engine needs another file
    files: tuple[str, ...] = ()  # that file, and further ones that belong to it

    def __str__(self) -> str:
        return f"{self.engine} {self.dtype}" if self.engine else "as it is"


@dataclass(frozen=True)
class Configuration:
    """One way to serve an archive. Without `threads`, the handler chooses them."""

    variant: Variant
    workers: int
    threads: int | None
    batch_size: int
    max_batch_delay: int  # ms


def present(spec: ArchiveSpec, cores: int) -> Configuration:
    """Return the configuration of a spec."""
    serving, handler = spec.serving, spec.handler_config
    workers = int(serving.get("minWorkers") or cores)
    share = max(1, cores // int(serving.get("maxWorkers") or workers))
    return Configuration(
        Variant(),
        workers,
        int(handler.get("threads") or share) if handler else None,
        int(serving.get("batchSize") or _DEFAULT_BATCH_SIZE),
        int(serving.get("maxBatchDelay") or _DEFAULT_DELAY),
    )


def applied(spec: ArchiveSpec, configuration: Configuration) -> ArchiveSpec:
    """Return a spec with a configuration applied."""
    serving: dict[str, Any] = {
        "minWorkers": configuration.workers,
        "maxWorkers": configuration.workers,
        "batchSize": configuration.batch_size,
        "maxBatchDelay": configuration.max_batch_delay,
    }
    handler: dict[str, Any] = {}
    if configuration.threads is not None:
        handler["threads"] = configuration.threads
    variant = configuration.variant
    if variant.engine is not None:
        handler |= {"engine": variant.engine, "dtype": variant.dtype}
    changed = replace(
        spec, serving=spec.serving | serving, handler_config=spec.handler_config | handler
    )
    if not variant.files:
        return changed
    first, *more = variant.files
    extra_files = (*spec.extra_files, *more)
    return replace(changed, model_file=None, serialized_file=first, extra_files=extra_files)


def untuned(spec: ArchiveSpec) -> ArchiveSpec:
    """Return a spec without the tuned keys: what all its configurations have in common."""
    return replace(
        spec,
        serving={k: v for k, v in spec.serving.items() if k not in _TUNED_SERVING},
        handler_config={k: v for k, v in spec.handler_config.items() if k not in _TUNED_HANDLER},
    )


@dataclass(frozen=True)
class Space:
    """All combinations of these values."""

    variants: tuple[Variant, ...]
    processes: tuple[tuple[int, int | None], ...]  # workers, threads of each
    batch_sizes: tuple[int, ...]
    delays: tuple[int, ...]  # ms

    @classmethod
    def of(
        cls,
        variants: tuple[Variant, ...],
        *,
        cores: int,
        connections: int,
        goal: float,
        threads: bool,
    ) -> Space:
        """Return the space that is worth trying.

        Workers times threads are at most `cores`. Batches are at most as large as `connections` can
        fill. Delays are at most half the `goal` (seconds), since the model needs time too.
        """
        some = sorted({2**n for n in range(cores.bit_length())} | {cores})
        pairs = tuple((w, t) for w in some for t in some if w * t <= cores)
        return cls(
            variants,
            pairs if threads else tuple((workers, None) for workers in some),
            tuple(size for size in _BATCH_SIZES if size <= connections) or _BATCH_SIZES[:1],
            tuple(delay for delay in _DELAYS if delay <= goal * 1000 / 2) or _DELAYS[:1],
        )

    @property
    def lengths(self) -> tuple[int, int, int, int]:
        """The lengths of the four lists."""
        processes, sizes = len(self.processes), len(self.batch_sizes)
        return len(self.variants), processes, sizes, len(self.delays)

    def configuration(self, variant: int, processes: int, size: int, delay: int) -> Configuration:
        """Return a configuration by its places; with batch size 1, all delays are the same."""
        batch_size = self.batch_sizes[size]
        return Configuration(
            self.variants[variant],
            *self.processes[processes],
            batch_size,
            self.delays[delay] if batch_size > 1 else self.delays[0],
        )

    def __iter__(self) -> Iterator[Configuration]:
        """Yield every configuration once."""
        places = (
            (v, p, b, d)
            for v in range(len(self.variants))
            for p in range(len(self.processes))
            for b in range(len(self.batch_sizes))
            for d in range(len(self.delays))
        )
        return iter(dict.fromkeys(self.configuration(*place) for place in places))
