"""The load under which configurations are compared, and its goal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.core.errors import ProjectError
from marsmith.core.suggestions import did_you_mean


@dataclass(frozen=True)
class Conditions:
    """The load, and its goal."""

    goal: float  # seconds, for p99
    connections: int
    samples: tuple[str, ...]  # their names in the archive; empty: all


def chosen_samples(archive: Archive, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the samples that make the load."""
    names = [sample.request for sample in archive.samples]
    if not names:
        raise ProjectError(
            f"{archive.name} has no sample, so there are no requests to load it with",
            f"record one: marsmith sample {archive.name} FILE",
            code="no-sample",
        )
    found = []
    for one in wanted:
        matching = [name for name in names if Path(name).name == Path(one).name]
        if not matching:
            raise ProjectError(
                f"{archive.name} has no sample {one}",
                did_you_mean(one, names),
                code="unknown-sample",
            )
        found += matching
    return tuple(dict.fromkeys(found)) or tuple(names)
