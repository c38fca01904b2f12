"""Why TorchServe out of the box swings from machine to machine, and its best settings here."""

from __future__ import annotations

from bench import tasks
from bench.results import Result, beside_first
from bench.rounds import Bout, Effort
from bench.torchserve import BEST, OUT_OF_THE_BOX, Settings, stock_server

_CONNECTIONS = 64
# One thing is changed at a time; what is not named is TorchServe's default: as many workers as
# cores, each with as many threads as cores, one request at a time.
SETTINGS = (
    OUT_OF_THE_BOX,
    Settings("one worker", workers=1),
    Settings("waiting threads sleep", environment={"OMP_WAIT_POLICY": "PASSIVE"}),
    Settings("one thread", environment={"OMP_NUM_THREADS": "1"}),
    Settings("batches of 32", batch_size=32),
    BEST,
)


def stock(effort: Effort) -> Result:
    """Serve digits with each of the settings, one after the other in every round."""
    cases = tasks.digits()
    systems = [stock_server("digits", cases, settings) for settings in SETTINGS]
    for system in systems:
        system.busy_when_idle = True  # so each runs alone, since several would not fit in memory
    bout = Bout(systems, _CONNECTIONS, effort)
    bout.run()
    table = bout.table(
        f"requests/s, {_CONNECTIONS} connections",
        "requests/s",
        lambda load: load.requests_per_second,
    )
    return Result("stock", [table], notes=[*bout.warnings, beside_first(table)])
