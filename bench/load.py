"""Load from wrk, which needs a few percent of one core where the servers have the rest."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.failures import BenchError, SystemFailedError
from bench.systems import System

_SCRIPT = Path(__file__).with_name("post.lua")
_CHECKED = 2  # cases each time; all of them get their turn
_CHECKS_PER_SECOND = 4  # few enough not to weigh, enough to see an answer go wrong


@dataclass(frozen=True)
class Load:
    """What a server did under load; latencies in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float


def require_wrk() -> str:
    """Return wrk's path; raises BenchError where there is none."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchError(
            "wrk, which makes the load, is not installed",
            "on Debian and Ubuntu: apt-get install wrk; on macOS: brew install wrk",
        )
    return wrk


def parse(output: str) -> Load:
    """Read the line that post.lua prints; raises SystemFailedError if any request failed."""
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise SystemFailedError(f"wrk printed no result: {output.strip()[-200:]}")
    told = json.loads(line)
    if told["refused"] or told["failed"]:
        raise SystemFailedError(
            f"of {told['requests']} requests {told['refused']} got a status of 400 or more "
            f"and {told['failed']} none at all"
        )
    if not told["requests"]:
        raise SystemFailedError("no request was answered in time")
    seconds = told["microseconds"] / 1e6
    return Load(told["requests"] / seconds, told["p50"] / 1e3, told["p99"] / 1e3)


def measure(system: System, connections: int, seconds: float) -> Load:
    """Load a running system with all its cases in turn, and check some of them the while.

    Raises SystemFailedError for a wrong answer, a status of 400 or more, or a broken connection.
    """
    requests = [system.request(case) for case in system.cases]
    with tempfile.TemporaryDirectory(prefix="marsmith-bench-") as folder:
        lines = []
        for number, request in enumerate(requests):
            body = Path(folder) / f"{number}"
            body.write_bytes(request.body)
            lines.append(f"{body}\t{request.content_type}\n")
        listed = Path(folder) / "requests"
        listed.write_text("".join(lines))
        command = [require_wrk(), "--threads", "1", "--connections", str(connections)]
        command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", "60s"]
        command += ["--script", str(_SCRIPT), system.url + requests[0].path]
        command += ["--", str(listed), *system.paths]
        return parse(_run_checking(command, system))


def _run_checking(command: list[str], system: System) -> str:
    """Run wrk, check answers as long as it runs, and return what it printed."""
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(command, stdout=output) as wrk,  # noqa: S603
    ):
        try:
            while wrk.poll() is None:
                system.check(_CHECKED)
                time.sleep(1 / _CHECKS_PER_SECOND)
            # Behind all that wrk left in the queue: the next system finds idle cores.
            system.check(_CHECKED)
        finally:
            wrk.kill()
        output.seek(0)
        return output.read()
