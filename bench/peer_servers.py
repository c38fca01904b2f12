"""The peers as systems: which environment, which command, which form of request."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.answers import Case
from bench.environments import environment
from bench.places import BENCH, ROOT, WORK
from bench.systems import Request, System, post_form, post_raw

_WARM_UP = 2.0  # seconds: nothing is compiled in Python
_PATHS = ("", "handlers", "model_defs", "bench/projects/resnet18/model_defs")
WEIGHTS = {"digits": ROOT / "weights" / "convnet.pth", "resnet18": WORK / "resnet18.pth"}


@dataclass(frozen=True)
class Peer:
    """One way to serve with a peer. `processes` share the cores; `words` follow the program."""

    name: str
    package: str
    program: str
    words: Callable[[int], Sequence[str]]  # of the port
    request: Callable[[Case], Request]
    processes: int
    busy_when_idle: bool = False


def _uvicorn(workers: int) -> Callable[[int], list[str]]:
    return lambda port: [
        *("bench.peers.fastapi.app:app", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", str(workers), "--no-access-log"),
    ]


def _gunicorn(port: int) -> list[str]:
    words = ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    return [*words, "--workers", "2", "--threads", "4", "bench.peers.flask.app:app"]


PEERS = (
    Peer("FastAPI, 1 worker", "fastapi", "uvicorn", _uvicorn(1), post_raw("/predict"), 1),
    Peer("FastAPI, 2 workers", "fastapi", "uvicorn", _uvicorn(2), post_raw("/predict"), 2),
    Peer("Flask, gthread 2x4", "flask", "gunicorn", _gunicorn, post_raw("/predict"), 2),
    Peer(
        "BentoML",
        "bentoml",
        "bentoml",
        lambda port: ["serve", "bench.peers.bentoml.app:Classifier", "--port", str(port)],
        post_form("/predict", "pictures"),
        2,
    ),
    Peer(
        "LitServe",
        "litserve",
        "python",
        lambda port: ["-m", "bench.peers.litserve.app", str(port)],
        post_form("/predict", "request"),
        2,
        busy_when_idle=True,
    ),
    Peer(
        "Ray Serve",
        "ray",
        "python",
        lambda port: ["-m", "bench.peers.ray.app", str(port)],
        post_raw("/"),
        2,
        busy_when_idle=True,
    ),
)


def peer_server(
    peer: Peer, task: str, cases: Sequence[Case], extra: Mapping[str, str] | None = None
) -> System:
    """Return a peer that serves a task; `extra` is added to what its environment says."""
    programs = environment(peer.package)

    def command(port: int, _: Path) -> list[str | Path]:
        return [programs / peer.program, *peer.words(port)]

    threads = max(1, (os.cpu_count() or 1) // peer.processes)
    variables = {
        "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in _PATHS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "BENCH_TASK": task,
        "BENCH_WEIGHTS": str(WEIGHTS[task]),
        "BENCH_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves this machine
        "BENTOML_DO_NOT_TRACK": "true",
        **(extra or {}),
    }
    return System(
        peer.name,
        cases,
        command,
        peer.request,
        variables,
        busy_when_idle=peer.busy_when_idle,
        warm_up=_WARM_UP,
    )


def package_versions() -> dict[str, str]:
    """Return what each peer's requirements lock: the version of its own package."""
    versions = {}
    for peer in PEERS:
        text = (BENCH / "peers" / peer.package / "requirements.txt").read_text()
        pins = [line.split()[0] for line in text.splitlines() if line.startswith(peer.package)]
        versions[peer.package] = ", ".join(pin.partition("==")[2] for pin in pins if "==" in pin)
    return versions
