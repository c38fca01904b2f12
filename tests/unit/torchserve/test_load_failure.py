"""marsmith/torchserve/load_failure.py."""

from __future__ import annotations

import pytest

from marsmith.core.findings import Finding
from marsmith.torchserve.load_failure import explain
from marsmith.torchserve.tracebacks import find_failure
from tests.unit.torchserve.worker_logs import (
    MASKED_IMPORT_ERROR,
    STARTED,
    UNPACKED,
    failure_in,
    logged,
)


def finding_of(text: str) -> Finding:
    return explain(failure_in(*logged(STARTED + text)), "LOGS/workers.log")


def test_no_failure_means_a_death_without_words() -> None:
    finding = explain(None, "LOGS/workers.log")
    assert finding.rule == "worker-ended"
    assert "LOGS/workers.log" in finding.hint


def test_a_missing_module_leads_to_extra_files_or_requirements() -> None:
    found = finding_of(MASKED_IMPORT_ERROR)
    assert found.rule == "missing-module"
    assert found.message == "ModuleNotFoundError: No module named 'image_classifer'"  # Python's
    assert "extra_files" in found.hint
    assert "requirements_file" in found.hint
    assert found.location == "digit_classifier.py:7"


def test_captum_is_told_apart_from_files_of_ones_own() -> None:
    text = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'captum'\n"
    assert finding_of(text).hint == "pip install 'marsmith[torchserve]'"


@pytest.mark.parametrize("module", ["marsmith.core", "marsmith_handlers.base", "not_known"])
def test_pip_installs_neither_a_module_of_marsmith_nor_an_unknown_one(module: str) -> None:
    text = f"Traceback (most recent call last):\nModuleNotFoundError: No module named {module!r}\n"
    assert "pip install" not in finding_of(text).hint


@pytest.mark.parametrize(
    ("exception", "rule", "named"),
    [
        ("RuntimeError: Error(s) in loading state_dict for Net:", "weights-keys", "model_file"),
        (
            "RuntimeError: PytorchStreamReader failed locating file constants.pkl",
            "no-torchscript",
            "model_file",
        ),
        (
            "RuntimeError: Cannot use ``weights_only=True`` with TorchScript",
            "torchscript-with-model-file",
            "model_file",
        ),
        ("RuntimeError: No model weights could be loaded", "no-model-file", "model_file"),
        ("RuntimeError: selected index k out of range", "topk", "topk = 2"),
        (
            "_pickle.UnpicklingError: Weights only load failed.",
            "weights-pickle",
            "marsmith weights inspect",
        ),
        ("RuntimeError: PytorchStreamReader failed reading zip archive", "weights-damaged", ""),
        ("EOFError: Ran out of input", "weights-damaged", ""),
        ("SyntaxError: invalid syntax", "syntax", ""),
        ("IndentationError: unexpected indent", "syntax", ""),
        (
            "ValueError: unknown handler_config key 'sise'",
            "handler-config",
            "[archives.NAME.handler_config]",
        ),
        (
            "TypeError: Net.__init__() missing 2 required positional arguments",
            "model-arguments",
            "",
        ),
        ("ValueError: Expected only one class in custom service code", "several-classes", ""),
        ("TypeError: Can't instantiate abstract class Handler", "abstract-class", ""),
        ("TypeError: 'InferenceSession' object is not callable", "onnx-call", "inference()"),
        (
            "FileNotFoundError: [Errno 2] No such file: 'x.json'",
            "missing-file",
            "extra_files",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory", "out-of-memory", "minWorkers"),
        ("ValueError: anything else", "worker-exception", "LOGS/workers.log"),
    ],
)
def test_each_kind_of_failure_has_a_rule_and_a_next_step(
    exception: str, rule: str, named: str
) -> None:
    found = finding_of(f"Traceback (most recent call last):\n{exception}\n")
    assert (found.message, found.rule) == (exception, rule)
    assert found.hint
    assert named in found.hint


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
    assert f"MARSMITH_PASS_ENVIRONMENT={name}" in finding_of(text).hint


def test_another_missing_key_is_no_variable() -> None:
    text = "Traceback (most recent call last):\n"
    text += f"  File \"{UNPACKED}/own.py\", line 3, in initialize\nKeyError: 'HOME'\n"
    assert "MARSMITH_PASS_ENVIRONMENT" not in finding_of(text).hint


def test_without_a_log_the_hint_says_what_is_in_it() -> None:
    log = "Torch worker started.\nPython runtime: 3.11.7\nModel will not fit\n[METRICS]x:0|#y\n"
    told, silent = explain(None, None, log).hint, explain(None, None, "[PID]5\n").hint
    assert told.endswith(" Model will not fit")  # the worker's own line
    assert "[PID]" not in silent
    failure = find_failure(
        [
            "Traceback (most recent call last):",
            f'  File "{UNPACKED}/own.py", line 3, in initialize',
            '  File "<frozen os>", line 679, in __getitem__',
            f"KeyError: '{UNPACKED}/labels.txt'",
        ]
    )
    finding = explain(failure, None)
    assert finding.message == "KeyError: 'labels.txt'"  # Python's
    assert finding.hint.endswith(" <frozen os>:679 in __getitem__ ← own.py:3 in initialize")
