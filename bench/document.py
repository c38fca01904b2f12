"""docs/explanation/benchmarks.md, profiles.md and what the terminal shows, from results alone."""

from __future__ import annotations

import click

from bench import plot
from bench.failures import BenchError
from bench.places import DOCUMENT, RESULTS
from bench.results import Comparison, Result, Table, read

_HEAD = """\
# Benchmarks

Written by `scripts/bench` from what it measured; nothing here is typed by hand. Each row compares
within one run: all systems on this machine, loaded in turn by wrk on the same cores. Answers are
compared with the expected ones before a system is timed, and four times a second while it is; the
status of each is counted. Ratios are medians over the rounds of ours to theirs, with the least and
the greatest ratio of a round. A system that answers wrongly, or with a status of 400 or more, has
failed.

Where the time of a request goes is on [a page of its own](profiles.md).

![ratios beside their goals](benchmarks.svg)

"""
_PROFILES = """\
# Profiles

Where the time of a request goes, function by function, in what [the benchmarks](benchmarks.md)
measure. Written by `scripts/bench`. File names are those of the run that was measured; modules may
have moved since.
"""
_METHODS = """
## How it is measured

- TorchServe out of the box: `torch-model-archiver` and `torchserve --start` in an environment of
  its own, with nothing set but ports, the model and access without tokens; handlers in
  `bench/stock/`.
- The peers: one app each in `bench/peers/`, requirements locked beside it. They share what
  surrounds the model (`bench/peers/work.py`), so only the serving differs; processes x
  threads = cores;
  those that batch take up to 32 requests and wait for at most 2 ms, BentoML by its own rule.
- Each server is loaded before it is measured, so that Java has compiled its code: for 4 seconds,
  the peers for 2. All environments hold bytecode, as pip leaves it.
- LitServe and Ray Serve keep cores busy while they are idle. So they run alone, all their rounds
  one after the other, when the others have had theirs.
- wrk sends the test requests in turn over kept connections. Beside it, each system is asked two of
  them four times a second, and after each round once more, behind what is still queued. When a
  system has started, it must answer all of them rightly.
- Digits are 200 different pictures: `--data` names IDX files or photos, else they are drawn and
  printed here. First all are framed as MNIST's are; then they come in every way that
  `scripts/train/digit_framings.py` knows, 28 to 1,024 pixels. The peers find the figure by our own
  function. TorchServe scales those pictures as a tutorial does, so it reads many of them wrong,
  and only the form of its answers is checked. All other answers must be within 0.01 of eager's, as
  a share of its largest probability.
- TorchServe at its best settings: one thread a worker and batches of 32, which the trial `stock`
  holds beside other settings. Out of the box it starts a worker for each core, and each of them as
  many threads as there are cores. Threads that wait for each other at the end of every operation
  spin, and take the core from those they wait for. How much that costs depends on what else wants
  the cores, so the rate out of the box differs from machine to machine and minute to minute: from
  18 to 548 requests/s were seen. The trial `stock` shows it, since workers then spend on a request
  many times what it takes. On two cores that other work kept busy as well (2026-11-28, framed
  digits, 64 connections, one to four spells of 2 seconds) workers spent 48 to 77 ms of a core on a
  request out of the box, at 18 to 33 requests/s; 54 ms if it was one worker, at 18 requests/s; 7 ms
  in batches of 32, at 66 requests/s; 1.8 to 2.1 ms where waiting threads sleep
  (`OMP_WAIT_POLICY=PASSIVE`), at 358 to 424 requests/s; 1.0 to 1.1 ms where a worker has one thread
  (`OMP_NUM_THREADS=1`), at 558 to 736 requests/s, which is what the work takes; 0.6 ms with one
  thread and batches, at 605 requests/s. So it is not the number of workers: a single one with two
  threads loses as much as soon as anything else wants a core.
- ResNet-18's answers must be within 0.05, as a share of the largest probability, of eager float32
  on a photo that Pillow decoded in full; cartoons within 0.02 on average, of values in 0 to 1.
"""
_FEW = 5.0  # requests/s
_MOST_ROUNDS = 12  # more are single values, of which the 95th percentile is told as well
_OWN_PAGE = "profiles"
_SPREADS = {"round": "least to greatest", "point": "points"}
_TABLE_HEAD = "| work | against | goal | measured | |\n| --- | --- | --- | --- | --- |\n"


def write() -> None:
    """Write both pages and their pictures from the results that are there."""
    results = stored_results()
    if not results:
        raise BenchError("nothing has been measured yet", "scripts/bench")
    DOCUMENT.write_text(as_markdown([one for one in results if one.trial != _OWN_PAGE]))
    profiled = [one for one in results if one.trial == _OWN_PAGE]
    DOCUMENT.with_name("profiles.md").write_text(profiles_as_markdown(profiled))
    comparisons = [one for result in results for one in result.comparisons]
    DOCUMENT.with_suffix(".svg").write_text(plot.ratios(comparisons))
    for result in results:
        if curves := [table for table in result.tables if table.title in result.curves]:
            path = DOCUMENT.with_name(f"benchmarks-{result.trial}.svg")
            path.write_text(plot.curves(curves, result.curves))
    click.echo(f"wrote {DOCUMENT}")


def stored_results() -> list[Result]:
    """Return the results of all trials that have run, in the order of the trials."""
    from bench.trials import TRIALS

    paths = [RESULTS / f"{name}.json" for name in (*TRIALS, "tune")]
    return [read(path) for path in paths if path.exists()]


def as_markdown(results: list[Result]) -> str:
    """Return the text of the document."""
    rows = "".join(_row(one) for result in results for one in result.comparisons)
    short = [one for result in results for one in result.comparisons if not one.reached]
    parts = [_HEAD, _TABLE_HEAD, rows, "\n", _shortfall(short)]
    machine = results[-1].machine
    parts += [_section(result, machine) for result in results]
    return "".join([*parts, _METHODS, f"\n## The machine\n\n{_facts(machine)}"])


def profiles_as_markdown(results: list[Result]) -> str:
    """Return the text of the page of profiles."""
    if not results:
        return f"{_PROFILES}\nNot measured: `scripts/bench {_OWN_PAGE}` does.\n"
    return "".join(
        [
            _PROFILES,
            *(_section(result, result.machine) for result in results),
            f"\n## The machine\n\n{_facts(results[-1].machine)}",
        ]
    )


def as_text(result: Result) -> str:
    """Return a result for the terminal."""
    lines = []
    for table in result.tables:
        lines.append(f"{table.title} ({table.unit})")
        lines += [f"  {row[0]:28} {row[1]:>10}  {row[2]}" for row in _series_rows(table, "round")]
    for one in result.comparisons:
        verdict = "reached" if one.reached else "NOT REACHED"
        lines.append(f"{one.goal.work}, against {one.goal.against}: {_told(one)} — {verdict}")
    return "\n".join([*lines, *result.notes])


def goal_text(one: Comparison) -> str:
    """Return a goal as the table shows it."""
    return f"≤ {one.goal.ratio:g} x" if one.goal.at_most else f"≥ {one.goal.ratio:g} x"


def _row(one: Comparison) -> str:
    against = one.goal.against
    if one.theirs and one.theirs not in against:
        against += f" ({one.theirs})"
    verdict = "reached" if one.reached else "**falls short**"
    measured = _ratio(one) if one.ratio is not None else "failed"
    return f"| {one.goal.work} | {against} | {goal_text(one)} | {measured} | {verdict} |\n"


def _told(one: Comparison) -> str:
    measured = f"{_ratio(one)} {one.theirs}".strip() if one.ratio is not None else one.note
    return f"{measured} (goal {goal_text(one)})"


def _ratio(one: Comparison) -> str:
    """Return the median ratio, and the least and the greatest of a round."""
    if not one.spread:
        return f"{one.ratio:.2f} x (measured once)"
    return f"{one.ratio:.2f} x ({one.spread[0]:.2f} to {one.spread[1]:.2f})"


def _shortfall(short: list[Comparison]) -> str:
    if not short:
        return "All goals are reached.\n"
    lines = [f"- {one.goal.work}, against {one.goal.against}: {_told(one)}\n" for one in short]
    return "What falls short:\n\n" + "".join(lines)


def _section(result: Result, machine: dict[str, str]) -> str:
    lines = [f"\n## {result.trial}\n\n"]
    lines += [f"`{result.command}`, {result.date}.\n"]
    lines += [f"{note}\n" for note in [*result.notes, *_coarse(result)]]
    if any(table.title in result.curves for table in result.tables):
        lines.append(f"\n![curves](benchmarks-{result.trial}.svg)\n")
    for table in result.tables:
        of = "point" if table.title in result.curves else "round"
        head = f"{table.title} | median {table.unit} | {_SPREADS[of]}"
        lines.append(f"\n| {head} |\n| --- | --- | --- |\n")
        lines += [f"| {' | '.join(row)} |\n" for row in _series_rows(table, of)]
    if result.machine != machine:
        lines.append("\nMeasured on another machine, or with other versions:\n\n")
        lines.append(_facts(result.machine))
    return "".join(lines)


def _coarse(result: Result) -> list[str]:
    """Name the systems that were measured with a handful of requests a round."""
    return [
        f"{one.system} answered fewer than {_FEW:g} requests/s: over rounds of seconds its figure, "
        "and the ratio to it, says no more than its order of magnitude."
        for table in result.tables
        for one in table.series
        if table.unit == "requests/s" and one.values and one.median < _FEW
    ]


def _facts(machine: dict[str, str]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in machine.items())


def _series_rows(table: Table, of: str) -> list[tuple[str, str, str]]:
    rows = []
    for one in table.series:
        if one.values:
            rows.append((one.system, _number(one.median), _spread(one.values, of)))
        else:
            rows.append((one.system, "failed", one.failure))
    return rows


def _spread(values: list[float], of: str) -> str:
    """Return the least and the greatest value, or each point of a curve."""
    if of == "point":
        return ", ".join(_number(value) for value in values)
    if len(values) == 1:
        return "measured once"
    least, greatest = _number(min(values)), _number(max(values))
    if len(values) <= _MOST_ROUNDS:
        return f"{least} to {greatest}, {len(values)} values"
    high = _number(sorted(values)[round(0.95 * (len(values) - 1))])
    return f"{least} to {greatest}, 95 % up to {high}, {len(values):,} values"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
