"""marsmith/tune/space.py."""

from __future__ import annotations

from marsmith.tune.space import Configuration, applied, present, untuned
from tests.unit.conftest import MakeProject
from tests.unit.tune.made import EAGER, ONNX, space


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
