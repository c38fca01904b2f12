"""The trials over HTTP: Marsmith, TorchServe out of the box and the peers under the same load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench import bare_engine, tasks
from bench.answers import Case
from bench.failures import SystemFailedError
from bench.load import Load
from bench.marsmith_server import SETUPS, marsmith_server
from bench.peer_servers import PEERS, WEIGHTS, Peer, peer_server
from bench.places import ARTIFACTS
from bench.results import Goal, Result, Series, Table, compare
from bench.rounds import Bout, Effort
from bench.systems import System
from bench.torchserve import BEST, OUT_OF_THE_BOX, stock_server

OURS, STOCK = "Marsmith", "TorchServe"
BARE, WHOLE = "bare engine over tensors", "decoding and inferring alone"
# With an engine it is the photos that take the time: the two peers that were best at the work.
ENGINE_PEERS = PEERS[1:3]
_RATE, _LATENCY = "requests/s", "ms"


def digits(effort: Effort, peers: Sequence[Peer] = PEERS) -> Result:
    """Measure digits with 64 connections: framed as MNIST's are, then framed in every way."""
    framed = _digits(effort, peers, "28x28 as MNIST's", "digits", tasks.digits(), 10)
    mixed = _digits(effort, peers, "28 to 1,024 px", "digits-mix", tasks.mixed_digits(), 5)
    framed.tables += mixed.tables
    framed.comparisons += mixed.comparisons
    framed.notes = list(dict.fromkeys([*framed.notes, *mixed.notes]))
    return framed


def _digits(
    effort: Effort,
    peers: Sequence[Peer],
    kind: str,
    stock: str,
    cases: Sequence[Case],
    least: float,
) -> Result:
    """Measure one stream; the mixed one is answered by TorchServe, but not read right."""
    theirs = cases if stock == "digits" else tasks.unchecked(cases)
    systems = [marsmith_server("digits", cases)]
    systems += [stock_server(stock, theirs, settings) for settings in (OUT_OF_THE_BOX, BEST)]
    result = loaded("digits", systems, peers_of(peers, "digits", cases), 64, effort, work=kind)
    work = f"digits, {kind}, 64 connections"
    compare_in(result, Goal(work, "TorchServe out of the box", least), [STOCK])
    plain = "" if theirs is cases else ", which finds no figure"
    compare_in(result, Goal(work, f"TorchServe at its best settings{plain}", 1), [BEST.name])
    compare_in(result, Goal(work, "the best peer", 1.5), [peer.name for peer in peers])
    return result


def one_connection(effort: Effort) -> Result:
    """Measure the latency of digits without other load."""
    cases = tasks.digits()
    systems = [marsmith_server("digits-alone", cases)]
    result = loaded("one-connection", systems, peers_of(PEERS, "digits", cases), 1, effort)
    goal = Goal("digits, one connection, p50", "the best peer", 1, at_most=True)
    compare_in(result, goal, [peer.name for peer in PEERS], table=1, less=True)
    result.notes.append(
        "Served by ONNX Runtime, the fastest with one small picture (marsmith export), with "
        "batchSize = 1: for a batch that is not full TorchServe's front end waits "
        "maxBatchDelay, 1 ms at the least."
    )
    return result


def resnet18(effort: Effort) -> Result:
    """Measure ResNet-18 on photos."""
    tasks.write_resnet18_weights(WEIGHTS["resnet18"])
    cases = tasks.resnet18()
    systems = [marsmith_server("resnet18", cases), stock_server("resnet18", cases)]
    result = loaded("resnet18", systems, peers_of(PEERS, "resnet18", cases), 16, effort)
    work = "ResNet-18, 1280x960 JPEG, 16 connections"
    compare_in(result, Goal(work, "TorchServe out of the box", 4), [STOCK])
    compare_in(result, Goal(work, "the best peer, eager", 3), [peer.name for peer in PEERS])
    return result


def resnet18_engine(effort: Effort) -> Result:
    """Measure ResNet-18 where the peers have the engine that Marsmith has, and the engine alone."""
    tasks.write_resnet18_weights(WEIGHTS["resnet18"])
    cases = tasks.resnet18()
    systems = [marsmith_server("resnet18", cases)]
    model = ARTIFACTS / f"{SETUPS['resnet18'].archive}.xml"
    peers: dict[str, Callable[[], System]] = {}
    for decoder in ("pillow", "marsmith"):
        extra = {"BENCH_OPENVINO": str(model), "BENCH_DECODER": decoder}
        peers |= peers_of(
            ENGINE_PEERS, "resnet18", cases, extra, f", OpenVINO, {decoder}'s decoder"
        )
    whole = bare_engine.whole_loop(model, cases[0].body)
    loops = {BARE: bare_engine.loop(model), WHOLE: whole}
    result = loaded("resnet18-engine", systems, peers, 16, effort, loops)
    work = "ResNet-18, 1280x960 JPEG, 16 connections"
    own = [name for name in peers if "pillow" in name]
    lent = [name for name in peers if "marsmith" in name]
    compare_in(result, Goal(work, "the best peer with the same engine", 1.25), own)
    compare_in(result, Goal(work, "the same with our decoder as well", 1.0), lent)
    compare_in(result, Goal(work, "decoding and inferring alone, on all cores", 0.8), [WHOLE])
    return result


def rotation(effort: Effort) -> Result:
    """Measure rotation on photos."""
    goal = Goal("rotation, 1280x960 JPEG, 8 connections", "TorchServe out of the box", 5)
    return _against_stock("rotation", tasks.rotation(), goal, effort)


def cartoon(effort: Effort) -> Result:
    """Measure photos that come back as cartoons."""
    goal = Goal("cartoon, 1280x960 JPEG in and out, 8 connections", "TorchServe, eager float32", 3)
    return _against_stock("cartoon", tasks.cartoon(), goal, effort)


def _against_stock(task: str, cases: Sequence[Case], goal: Goal, effort: Effort) -> Result:
    systems = [marsmith_server(task, cases), stock_server(task, cases)]
    result = loaded(task, systems, {}, 8, effort)
    compare_in(result, goal, [STOCK])
    return result


def peers_of(
    peers: Sequence[Peer],
    task: str,
    cases: Sequence[Case],
    extra: Mapping[str, str] | None = None,
    suffix: str = "",
) -> dict[str, Callable[[], System]]:
    """Return what makes each peer, by its name with `suffix`; `extra` is added to its variables."""

    def make(peer: Peer) -> Callable[[], System]:
        named = replace(peer, name=peer.name + suffix)
        return lambda: peer_server(named, task, cases, extra)

    return {peer.name + suffix: make(peer) for peer in peers}


def loaded(
    trial: str,
    systems: Sequence[System],
    peers: Mapping[str, Callable[[], System]],
    connections: int,
    effort: Effort,
    loops: Mapping[str, Callable[[float], Load]] | None = None,
    work: str = "",
) -> Result:
    """Measure all; a peer that cannot be installed has failed like one that answers wrongly."""
    systems, failed = list(systems), []
    for name, make in peers.items():
        try:
            systems.append(make())
        except SystemFailedError as error:
            failed.append(Series(name, failure=str(error)))
    bout = Bout(systems, connections, effort, loops)
    bout.run()
    many = f"{connections} connection{'s' if connections > 1 else ''}"
    many = f"{many}, {work}" if work else many
    tables = [
        bout.table(f"requests/s, {many}", _RATE, lambda load: load.requests_per_second),
        bout.table(f"p50, {many}", _LATENCY, lambda load: load.p50),
        bout.table(f"p99, {many}", _LATENCY, lambda load: load.p99),
    ]
    notes = [f"{system.name}: {note}" for system in systems for note in system.notes]
    tables = [Table(one.title, one.unit, one.series + failed) for one in tables]
    return Result(trial, tables, notes=[*bout.warnings, *notes])


def compare_in(
    result: Result,
    goal: Goal,
    others: Sequence[str],
    *,
    table: int = 0,
    less: bool = False,
    ours: str = OURS,
) -> None:
    """Add the comparison of ours with the best of others in a table of a result."""
    series = {one.system: one for one in result.tables[table].series}
    theirs = [series[name] for name in others]
    result.comparisons.append(compare(goal, series[ours], theirs, less=less))
