"""Deploy, roll back and scale under load; and archives that fail on their way are backed out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.archives import handler
from tests.faults.conftest import PATIENT, Scale, Station, served
from tests.faults.load import Tally
from tests.integration.kit import Kit

# tests/integration/test_deploy.py has quick ones.
pytestmark = pytest.mark.faults

Report = Callable[[str, Tally], None]
# How the next version fails, and what is said of it.
BROKEN = {
    "at import": ("import nothing_of_that_name\n", "nothing_of_that_name"),
    "at load": ("def initialize(self, context):\n        raise RuntimeError('shut')", "shut"),
    "at its samples": ("return 'something else'", "wrongly"),
    "at half of its requests": (
        "if self.requests % 2:\n            raise RuntimeError('half')",
        "half",
    ),
}


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with served(tmp_path_factory.mktemp("rollout"), "digest", secure=True) as running:
        yield running


def broken(station: Station, how: str) -> Path:
    """Build the next version, which fails."""
    source, fault = handler("digest", station.kit.root), BROKEN[how][0]
    if how == "at import":
        source = fault + source
    elif how == "at load":
        source = source.replace("def initialize(self, context):\n        pass", fault)
    else:
        source = source.replace("self.requests += 1\n", f"self.requests += 1\n        {fault}\n")
    other = Kit(station.kit.root / "broken")
    other.root.mkdir(exist_ok=True)
    for name in ("config.properties", "samples/request", "samples/response"):
        other.write(name, (station.kit.root / name).read_text())
    spec = (station.kit.root / "archives.toml").read_text()
    other.write(
        "archives.toml", spec.replace('version = "1.0"', f'version = "9.{list(BROKEN).index(how)}"')
    )
    other.write("handlers/digest.py", source)
    other("build", "--force")
    return other.root / "model_store" / "digest.mar"


def served_now(station: Station) -> list[tuple[str, bool, int, int]]:
    """Return what is served: version, whether it is the default, and scale."""
    with station.client() as client:
        return sorted(
            (one.version, one.default, one.min_workers, one.max_workers)
            for one in client.describe("digest")
        )


@pytest.mark.parametrize("how", BROKEN)
def test_an_archive_that_fails_is_backed_out(
    station: Station, scale: Scale, report: Report, how: str
) -> None:
    archive, before = broken(station, how), served_now(station)
    with station.loaded("digest", scale.connections) as tally:
        end = time.monotonic() + scale.seconds
        failed = station.kit("deploy", archive, "--no-check", "--port", station.port, check=False)
        time.sleep(max(0.0, end - time.monotonic()))
    report(f"deploy of an archive that fails {how}", tally)
    assert failed.returncode == 1, failed.stdout
    assert BROKEN[how][1] in failed.stderr
    assert "hint:" in failed.stderr
    assert served_now(station) == before
    assert tally.refused == 0


def test_ten_times_over(station: Station, scale: Scale, report: Report) -> None:
    """Deploy, scale up, roll back, scale down: nobody who asks notices."""
    kit, port = station.kit, ("--port", station.port)
    with station.loaded("digest", scale.connections, PATIENT) as tally:
        for turn in range(10 if scale.full else 2):
            kit("deploy", "digest", "--version", f"2.{turn}", *port)
            kit("scale", "digest", "3", *port)
            kit("rollback", "digest", *port)
            kit("scale", "digest", "2", *port)
    report("deploy, scale up, roll back, scale down; ten times", tally)
    assert (tally.wrong, tally.refused, tally.lost) == (0, 0, 0)
    (default,) = [one for one in kit.json("versions", "digest", *port) if one["default"]]
    assert (default["version"], default["min_workers"]) == ("1.0", 2)
