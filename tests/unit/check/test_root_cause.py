"""Which static findings explain a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marsmith.check.root_cause import as_cause, causes_of
from marsmith.core.findings import Finding, Severity

CONSTANTS = "it cannot be loaded: RuntimeError: PytorchStreamReader failed locating constants.pkl"
UNPICKLING = "it cannot be loaded: _pickle.UnpicklingError: Weights only load failed."
OTHER = "it cannot be loaded: ValueError: no labels"
RELATIVE = "it cannot be loaded: ImportError: attempted relative import"


def failed(message: str) -> Finding:
    return Finding(message, "", "handler.py", 9, rule="load", about=message)


@pytest.mark.parametrize(
    ("message", "explained"), [(CONSTANTS, True), (UNPICKLING, True), (OTHER, False)]
)
def test_the_kind_of_weights_explains_what_loaders_say_alone(message: str, explained: bool) -> None:
    kind = Finding("is a state_dict", "", "w.pt", rule="weights-kind", presumed=True)
    assert causes_of(failed(message), [kind]) == ([kind] if explained else [])


@pytest.mark.parametrize(
    ("message", "file", "explained"),
    [
        ("KeyError: 'TS_HOME'", "utils.py", True),
        (RELATIVE, "handler.py", True),
        (RELATIVE, "utils.py", False),
        (OTHER, "handler.py", False),
    ],
)
def test_a_variable_explains_its_own_absence(message: str, file: str, explained: bool) -> None:
    reads = Finding("reads TS_HOME", "", file, 2, Severity.WARNING, "environment", about="TS_HOME")
    causes = causes_of(failed(message), [reads])
    assert causes == ([reads] if explained else [])
    errors = [as_cause(one, failed(message)) for one in causes]
    assert errors == [
        replace(one, message=f"{one.message}: {message}", severity=Severity.ERROR) for one in causes
    ]
