"""Where the time of a request goes: that of all cores by process and thread, the worker's by
function.

Samples of the worker are py-spy's; processes and threads are counted by the kernel.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench import bare_engine, tasks
from bench.answers import Case
from bench.failures import SystemFailedError
from bench.jpeg import preparation
from bench.load import measure
from bench.marsmith_server import SETUPS, marsmith_server
from bench.peer_servers import WEIGHTS
from bench.places import ARTIFACTS, TOOLS
from bench.results import Result, Series, Table
from bench.rounds import Effort
from bench.systems import System

_IDLE, _BUSY, _ELSE = "idle", "busy", "kernel, other processes"
_SLEEPS = "WorkerMetrics._go_on"  # in time.sleep, which py-spy takes for work
_RATE = 500  # samples a second
_MOST = 14  # functions that are worth a row
_REPEATS = 30


def profiles(effort: Effort) -> Result:
    """Profile what falls short of its goal, and count what the machine could do at most."""
    tasks.write_resnet18_weights(WEIGHTS["resnet18"])
    result = Result("profiles")
    work = (("digits-alone", tasks.digits(), 1), ("resnet18", tasks.resnet18(), 16))
    for task, cases, connections in work:
        system = marsmith_server(task, cases)
        try:
            system.start()
            measure(system, connections, effort.warm_up)
            result.tables += _profile(system, task, connections, effort)
        finally:
            system.stop()
    result.tables.append(_limit(tasks.resnet18(), effort, result))
    return result


def _profile(system: System, task: str, connections: int, effort: Effort) -> list[Table]:
    title = f"{task}, {connections} connection{'s' if connections > 1 else ''}"
    rounds = [_processor_time(system, connections, effort) for _ in range(effort.rounds)]
    names = {name for one in rounds for name in one}
    each = [Series(name, [one.get(name, 0.0) for one in rounds]) for name in names]
    per_request = sorted(each, key=lambda one: one.median, reverse=True)[:_MOST]
    with _sampled(system) as samples:
        measure(system, connections, effort.seconds)
    total = sum(samples.values())
    shares = [
        Series(name, [100 * count / total]) for name, count in samples.most_common(_MOST) if total
    ]
    return [
        Table(f"{title}: time of all cores, by request", "us", per_request),
        Table(f"{title}: samples of a worker, by the function that was running", "%", shares),
    ]


def _processor_time(system: System, connections: int, effort: Effort) -> dict[str, float]:
    """Return the microseconds a request that workers, the front end's threads and others took.

    What no one took is among them: all add up to what the cores had.
    """
    before = _times(system)
    load = measure(system, connections, effort.seconds)
    spent = {name: value - before.get(name, 0.0) for name, value in _times(system).items()}
    spent[_ELSE] = spent.pop(_BUSY) - sum(spent[name] for name in spent if name != _IDLE)
    requests = load.requests_per_second * effort.seconds
    return {name: 1e6 * value / requests for name, value in spent.items()}


def _times(system: System) -> dict[str, float]:
    """Return the seconds that each has taken so far."""
    asking, checking = (
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
    )
    cores = psutil.cpu_times()
    idle = cores.idle + getattr(cores, "iowait", 0.0)
    guest = getattr(cores, "guest", 0.0) + getattr(cores, "guest_nice", 0.0)  # is in user as well
    times: dict[str, float] = defaultdict(float)
    times |= {"wrk, which asks": asking, "checks of answers": checking}
    times |= {_IDLE: idle, _BUSY: sum(cores) - idle - guest}
    for process in _processes(system):
        if process.name() != "java":
            times["workers"] += sum(process.cpu_times()[:2])
            continue
        for thread in process.threads():
            name = f"front end: {_thread_name(process.pid, thread.id)}"
            times[name] += thread.user_time + thread.system_time
    return times


def _thread_name(pid: int, thread: int) -> str:
    """Return the name of a kind of thread: C2 CompilerThread0 and 1 are one kind."""
    try:
        name = Path(f"/proc/{pid}/task/{thread}/comm").read_text().strip()
    except OSError:
        return "ended"
    return name.rstrip("0123456789-_# ") or name


def _processes(system: System) -> list[psutil.Process]:
    """Return TorchServe's front end and its workers."""
    if system.process is None:
        raise SystemFailedError("it does not run")
    children = psutil.Process(system.process.pid).children(recursive=True)
    return [one for one in children if one.name() == "java" or _is_worker(one)]


def _is_worker(process: psutil.Process) -> bool:
    """Whether it is a worker: one of Marsmith's is forked, one of TorchServe's a command."""
    command = " ".join(process.cmdline())
    started = "model_service_worker" in command and "forked_worker" not in command
    return started or process.name() == "ts_worker"


@contextmanager
def _sampled(system: System) -> Iterator[Counter[str]]:
    """Sample a worker as long as the block runs; samples by innermost function."""
    samples: Counter[str] = Counter()
    worker = next(one for one in _processes(system) if _is_worker(one))
    with tempfile.TemporaryDirectory(prefix="mb-") as folder:
        raw = Path(folder) / "raw"
        command: list[str | Path] = [
            TOOLS / "py-spy",
            "record",
            "--pid",
            str(worker.pid),
            "--rate",
            str(_RATE),
        ]
        command += ["--format", "raw", "--function", "--output", raw]
        with subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as spy:
            yield samples
            spy.send_signal(2)  # as Ctrl-C: it writes what it has
            complaint = spy.communicate()[1]
        if not raw.exists():
            raise SystemFailedError(f"py-spy gave no samples: {complaint.strip()[-200:]}")
        for line in raw.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            if _SLEEPS not in stack:
                samples[stack.rpartition(";")[2]] += int(count)


def _limit(cases: Sequence[Case], effort: Effort, result: Result) -> Table:
    """Count what a picture costs the cores before any server: to decode it, and to infer."""
    cores = psutil.cpu_count() or 1
    prepare = preparation()
    body = cases[0].body
    prepare(body)
    times = []
    for _ in range(_REPEATS):
        begin = time.thread_time()
        prepare(body)
        times.append(1000 * (time.thread_time() - begin))
    model = ARTIFACTS / f"{SETUPS['resnet18'].archive}.xml"
    rates = [
        bare_engine.loop(model)(effort.seconds).requests_per_second for _ in range(effort.rounds)
    ]
    decoding = Series("to decode it and make it a tensor", times)
    infer = Series("to infer", [1000 * cores / rate for rate in rates])
    most = cores * 1000 / (decoding.median + infer.median)
    result.notes.append(
        f"A picture of {len(body):,} bytes costs {decoding.median + infer.median:.1f} ms of a "
        f"core before anyone serves it: at most {most:.0f} a second on {cores} cores, which is "
        f"{most * infer.median / (1000 * cores):.2f} of the bare engine's rate over pictures that "
        "are decoded already."
    )
    return Table("a photo of 1280x960 for ResNet-18", "ms of a core", [decoding, infer])
