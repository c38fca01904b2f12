"""What a server holds: memory, files, folders; and whether it grows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.systems import with_workers

MIB = 1 << 20


@dataclass(frozen=True)
class Moment:
    """What was held at a moment. Sizes are in MiB."""

    second: float
    front_end: float
    workers: float
    front_end_files: int
    worker_files: int
    temporary: int  # files and folders below the server's temporary folder


def moment(second: float, supervisor: int, folder: Path) -> Moment:
    """Look at a server: the pid of its `marsmith serve`, its temporary folder."""
    family = psutil.Process(supervisor).children(recursive=True)
    front_end = next(one for one in family if one.name() == "java")
    workers = with_workers(supervisor)
    return Moment(
        second,
        front_end.memory_info().rss / MIB,
        sum(one.memory_full_info().pss for one in workers) / MIB,  # they share most of it
        front_end.num_fds(),
        sum(one.num_fds() for one in workers),
        sum(1 for _ in folder.rglob("*")),
    )


def slope(points: Iterable[tuple[float, float]]) -> float:
    """Return by how much y grows with each x, by least squares."""
    known = list(points)
    x, y = (sum(one[i] for one in known) / len(known) for i in (0, 1))
    spread = sum((one[0] - x) ** 2 for one in known)
    return sum((one[0] - x) * (one[1] - y) for one in known) / spread
