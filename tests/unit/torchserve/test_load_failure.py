"""marsmith/torchserve/load_failure.py."""

from __future__ import annotations

import pytest

from marsmith.torchserve.load_failure import explain
from marsmith.torchserve.tracebacks import find_failure
from tests.unit.torchserve.worker_logs import (
    MASKED_IMPORT_ERROR,
    STARTED,
    UNPACKED,
    failure_in,
    logged,
)


def finding_of(text: str) -> tuple[str, str, str]:
    finding = explain(failure_in(*logged(STARTED + text)), "LOGS/workers.log")
    return finding.message, finding.hint, finding.location


def test_no_failure_means_a_death_without_words() -> None:
    finding = explain(None, "LOGS/workers.log")
    assert finding.rule == "worker-ended"
    assert "LOGS/workers.log" in finding.hint


def test_a_missing_module_leads_to_extra_files_or_requirements() -> None:
    message, hint, location = finding_of(MASKED_IMPORT_ERROR)
    assert message == "ModuleNotFoundError: No module named 'image_classifer'"
    assert "add it to extra_files" in hint
    assert "requirements_file" in hint
    assert location == "digit_classifier.py:7"


def test_captum_is_told_apart_from_files_of_ones_own() -> None:
    text = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'captum'\n"
    assert finding_of(text)[1] == "pip install 'marsmith[torchserve]'"


@pytest.mark.parametrize("module", ["marsmith.core", "marsmith_handlers.base", "not_known"])
def test_pip_installs_neither_a_module_of_marsmith_nor_an_unknown_one(module: str) -> None:
    text = f"Traceback (most recent call last):\nModuleNotFoundError: No module named {module!r}\n"
    assert "pip install" not in finding_of(text)[1]


@pytest.mark.parametrize(
    ("exception", "hint"),
    [
        ("RuntimeError: Error(s) in loading state_dict for Net:", "same architecture"),
        ("RuntimeError: PytorchStreamReader failed locating file constants.pkl", "set model_file"),
        ("RuntimeError: Cannot use ``weights_only=True`` with TorchScript", "remove model_file"),
        ("RuntimeError: No model weights could be loaded", "set model_file"),
        ("RuntimeError: selected index k out of range", "topk = 2"),
        ("_pickle.UnpicklingError: Weights only load failed.", "more than tensors"),
        ("RuntimeError: PytorchStreamReader failed reading zip archive", "cut off or damaged"),
        ("EOFError: Ran out of input", "cut off or damaged"),
        ("SyntaxError: invalid syntax", "correct the line"),
        ("IndentationError: unexpected indent", "correct the line"),
        ("ValueError: unknown handler_config key 'sise'", "[archives.NAME.handler_config]"),
        ("TypeError: Net.__init__() missing 2 required positional arguments", "default values"),
        ("ValueError: Expected only one class in custom service code", "leave one class"),
        ("TypeError: Can't instantiate abstract class Handler", "implement the abstract methods"),
        ("FileNotFoundError: [Errno 2] No such file: 'x.json'", "add it to extra_files"),
        ("torch.OutOfMemoryError: CUDA out of memory", "minWorkers"),
        ("ValueError: anything else", "the whole traceback is in LOGS/workers.log"),
    ],
)
def test_each_kind_of_failure_has_its_next_step(exception: str, hint: str) -> None:
    found = finding_of(f"Traceback (most recent call last):\n{exception}\n")
    assert (found[0], hint in found[1]) == (exception, True)


def test_other_names_of_weights_are_told_with_the_command() -> None:
    error = "RuntimeError: Error(s) in loading state_dict for Net:"
    text = f"Traceback (most recent call last):\n{error}\n"
    text += '\tMissing key(s) in state_dict: "fc.bias". \n'
    text += '\tUnexpected key(s) in state_dict: "net.fc.bias". \n'
    finding = explain(failure_in(*logged(STARTED + text)), None)
    assert finding.rule == "weights-keys"
    assert "--strip-prefix net" in finding.hint


@pytest.mark.parametrize("frame", ["<frozen os>", "/usr/lib/python3.10/os.py"])
@pytest.mark.parametrize("name", ["VIRTUAL_ENV", "TS_CONFIG"])
def test_a_variable_that_workers_do_not_get_can_be_passed(frame: str, name: str) -> None:
    text = "Traceback (most recent call last):\n"
    text += f'  File "{frame}", line 679, in __getitem__\nKeyError: {name!r}\n'
    assert f"MARSMITH_PASS_ENVIRONMENT={name}" in finding_of(text)[1]


def test_another_missing_key_is_no_variable() -> None:
    text = "Traceback (most recent call last):\n"
    text += f"  File \"{UNPACKED}/own.py\", line 3, in initialize\nKeyError: 'HOME'\n"
    assert "MARSMITH_PASS_ENVIRONMENT" not in finding_of(text)[1]


def test_without_a_log_the_hint_says_what_is_in_it() -> None:
    log = "Torch worker started.\nPython runtime: 3.11.7\nModel will not fit\n[METRICS]x:0|#y\n"
    assert explain(None, None, log).hint.endswith("its last lines: Model will not fit")
    assert explain(None, None, "[PID]5\n").hint.endswith("it printed nothing")
    failure = find_failure(
        [
            "Traceback (most recent call last):",
            f'  File "{UNPACKED}/own.py", line 3, in initialize',
            '  File "<frozen os>", line 679, in __getitem__',
            f"KeyError: '{UNPACKED}/labels.txt'",
        ]
    )
    finding = explain(failure, None)
    assert finding.message == "KeyError: 'labels.txt'"
    assert finding.hint.endswith(
        "it was raised by <frozen os>:679 in __getitem__ ← own.py:3 in initialize"
    )
