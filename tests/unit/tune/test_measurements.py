"""marsmith/tune/measurements.py."""

from __future__ import annotations

from dataclasses import replace

from marsmith.tune.measurements import Measurements
from marsmith.tune.space import applied
from tests.unit.conftest import MakeProject
from tests.unit.tune.made import ONE, ONNX, measurement


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
