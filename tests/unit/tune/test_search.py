"""What is tried, what is remembered, what is given up, what is written: all without a server."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.project.spec import ArchiveSpec, parse_spec
from marsmith.tune import apply_winner
from marsmith.tune.engine_variants import Calibration, reads, variants
from marsmith.tune.load_trial import is_hopeless
from marsmith.tune.measurements import Measurement, Measurements
from marsmith.tune.optimizer import Study
from marsmith.tune.pareto import Point, as_svg, frontier, in_characters
from marsmith.tune.space import Configuration, Space, Variant, applied, present, untuned
from tests.codes import coded
from tests.unit.conftest import MakeProject

ROOT = Path(__file__).parents[3]
EAGER = Variant()
ONNX = Variant(
    "onnxruntime", "float32", "onnx", (".marsmith/tune/tiny-files/t.xml", ".marsmith/t.bin")
)
ONE = Configuration(EAGER, 1, 1, 8, 2)


def space(goal: float = 0.05, connections: int = 64, cores: int = 2) -> Space:
    return Space.of((EAGER,), cores=cores, connections=connections, goal=goal, threads=True)


def measurement(
    configuration: Configuration = ONE, rate: float = 100, p99: float = 0.01
) -> Measurement:
    return Measurement(configuration, rate, p99 / 2, p99, 5.0)


def test_workers_times_threads_are_at_most_the_cores() -> None:
    assert space().processes == ((1, 1), (1, 2), (2, 1))
    assert all(w * (t or 1) <= 6 for w, t in space(cores=6).processes)
    assert (6, 1) in space(cores=6).processes


def test_what_cannot_help_is_not_tried() -> None:
    assert max(space(connections=10).batch_sizes) == 8
    assert max(space(goal=0.05).delays) == 20
    assert space(goal=0.001, connections=1).delays == (1,)
    alone = [one for one in space() if one.batch_size == 1]
    assert {one.max_batch_delay for one in alone} == {1}
    assert len(list(space())) == 3 * (6 * 5 + 1)


def test_a_spec_is_read_and_changed(project: MakeProject) -> None:
    (spec,) = project().specs(("tiny",))
    now = present(spec, 4)
    assert now == Configuration(EAGER, 1, 4, 4, 100)
    served = applied(spec, Configuration(ONNX, 2, 1, 8, 5))
    assert served.serving == {"minWorkers": 2, "maxWorkers": 2, "batchSize": 8, "maxBatchDelay": 5}
    assert served.handler_config["engine"] == "onnxruntime"
    assert (served.serialized_file, served.extra_files[-1]) == ONNX.files
    assert untuned(served).serving == {}
    assert untuned(served).handler_config == {"size": [28, 28]}


def test_measurements_count_until_what_was_measured_changes(project: MakeProject) -> None:
    home = project()
    (spec,) = home.specs(("tiny",))
    known = Measurements(home, spec, {"connections": 64})
    known.add(measurement(replace(ONE, variant=ONNX)))
    known.add(replace(measurement(), failure="gone", final=True))
    with known.path.open("a") as file:
        file.write('{"key": "cut o')
    again = Measurements(home, spec, {"connections": 64})
    assert again.find(replace(ONE, variant=ONNX)) == measurement(replace(ONE, variant=ONNX))
    assert again.find(ONE) is None
    assert again.find(ONE, final=True) == replace(measurement(), failure="gone", final=True)
    assert Measurements(home, spec, {"connections": 8}).find(ONE, final=True) is None
    (home.root / "handlers" / "helper.py").write_text("HELP = False\n")
    assert Measurements(home, spec, {"connections": 64}).find(ONE, final=True) is None
    retuned = applied(spec, ONE)
    assert Measurements(home, retuned, {}).key == Measurements(home, spec, {}).key


def test_only_sound_complete_measurements_in_time_are_candidates() -> None:
    assert measurement().meets(0.01)
    assert not measurement(p99=0.011).meets(0.01)
    assert not replace(measurement(), complete=False).meets(1)
    assert not replace(measurement(), failure="wrong").meets(1)


def test_what_is_far_behind_is_given_up_early_and_what_is_near_late() -> None:
    near, far = measurement(rate=85), measurement(rate=60)
    assert is_hopeless(far, 1 / 6, 100, 0.05)
    assert not is_hopeless(near, 1 / 6, 100, 0.05)
    assert is_hopeless(near, 5 / 6, 100, 0.05)
    assert is_hopeless(measurement(p99=0.1), 1 / 6, 0, 0.05)
    assert not is_hopeless(measurement(p99=0.06), 1 / 6, 0, 0.05)


def test_the_search_finds_nearly_the_best_in_a_fifth_of_the_configurations() -> None:
    everything = list(space())
    best = max(_rate(one) for one in everything if _late(one) <= 0.05)
    study, found = Study(space(), 0.05), 0.0
    for _ in range(len(everything) // 5):
        one = study.ask()
        assert one is not None
        study.tell(measurement(one, _rate(one), _late(one)))
        found = max(found, _rate(one)) if _late(one) <= 0.05 else found
    assert found >= 0.95 * best


def _rate(one: Configuration) -> float:
    """Return what a server would do whose batches save work, and whose delays waste time."""
    batch = min(one.batch_size, 64 // one.workers)
    rate: float = one.workers**0.7 * 64000 / (12 + 300 / batch + one.max_batch_delay * 2)
    return rate


def _late(one: Configuration) -> float:
    return 64 / _rate(one) * (1 + one.batch_size / 40)


def test_a_space_that_is_used_up_ends_the_search() -> None:
    tiny = space(connections=1, goal=0.001)
    study = Study(tiny, 0.001)
    asked = []
    while (one := study.ask()) is not None:
        asked.append(one)
        study.tell(measurement(one))
    assert sorted(asked, key=str) == sorted(tiny, key=str)


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    points = [Point(100, 0.01), Point(90, 0.02), Point(300, 0.03, best=True), Point(200, 0.03)]
    assert frontier(points) == [0, 2]
    drawn = in_characters(points, 0.05)
    body = "".join(line.partition("|")[2] for line in drawn.splitlines())
    assert (body.count("#"), body.count("o"), body.count(".")) == (1, 1, 2)
    svg = as_svg("<t>", points, ["a", "b&", "c", "d"], 0.05)
    assert svg.count("<circle") == 4
    assert "b&amp;: 90 requests/s, p99 20 ms" in svg
    assert in_characters([], 0.05)


def test_the_winner_is_written_and_comments_stay() -> None:
    text = (ROOT / "archives.toml").read_text().replace("batchSize = 32", "batchSize = 32  # why")
    spec = parse_spec(text).archives["digits"]
    changed = apply_winner.winning_text(text, spec, Configuration(EAGER, 2, 1, 16, 5))
    serving = parse_spec(changed).archives["digits"].serving
    assert (serving["minWorkers"], serving["batchSize"], serving["maxBatchDelay"]) == (2, 16, 5)
    assert "batchSize = 16  # why" in changed
    lines = apply_winner.difference(text, changed)
    assert all(re.match(r"[-+@ ]", line) for line in lines)
    assert len([line for line in lines if line.startswith("-")]) < 8


def test_a_winner_with_files_of_its_own_names_them_in_weights() -> None:
    text = (ROOT / "archives.toml").read_text()
    spec = parse_spec(text).archives["digits"]
    changed = apply_winner.winning_text(text, spec, Configuration(ONNX, 2, 1, 16, 5))
    written = parse_spec(changed).archives["digits"]
    assert written.model_file is None
    assert (written.serialized_file, written.extra_files[-1]) == ("weights/t.xml", "weights/t.bin")
    assert written.handler_config["engine"] == "onnxruntime"


def test_a_spec_that_cannot_be_changed_is_left_alone() -> None:
    text = '[archives]\ntiny = { version = "1", handler = "h.py" }\n'
    spec = parse_spec(text).archives["tiny"]
    with pytest.raises(ProjectError, check=coded("spec-not-editable")):
        apply_winner.winning_text(text, spec, ONE)


def test_threads_are_tuned_where_the_handler_reads_them(project: MakeProject) -> None:
    home = project()
    (spec,) = home.specs(("tiny",))
    assert not reads(home, spec, "threads")
    (home.root / "handlers" / "helper.py").write_text("threads = 1\n")
    assert reads(home, spec, "threads")


def with_engines(spec: ArchiveSpec) -> ArchiveSpec:
    return replace(
        spec,
        model_file="model.py",
        serialized_file="w.pth",
        extra_files=("handlers/torch_engines.py",),
        handler_config={"engine": "eager"},
    )


def test_other_engines_need_a_handler_that_knows_them(project: MakeProject) -> None:
    home = project()
    (spec,) = home.specs(("tiny",))
    assert variants(home, spec) == (EAGER,)
    knowing = with_engines(spec)
    found = variants(home, knowing, ("eager", "torchscript"))
    assert {(one.engine, one.dtype) for one in found} == {
        (None, None),
        ("eager", "bfloat16"),
        ("torchscript", "float32"),
        ("torchscript", "bfloat16"),
    }


def test_int8_needs_photos_and_is_another_variant_with_others(
    project: MakeProject, tmp_path: Path
) -> None:
    home = project()
    (spec,) = map(with_engines, home.specs(("tiny",)))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(b"%d" % number)

    def int8(agreement: float = 0.97) -> tuple[str, ...]:
        found = variants(home, spec, ("onnxruntime",), Calibration(folder, agreement))
        (one,) = [one for one in found if one.dtype == "int8"]
        return one.files

    assert "int8" not in {one.dtype for one in variants(home, spec)}
    first = int8()
    assert Path(first[0]).name == "tiny-onnx-int8.onnx"
    assert int8() == first != int8(0.5)
    (folder / "0.png").write_bytes(b"another")
    assert int8() != first
