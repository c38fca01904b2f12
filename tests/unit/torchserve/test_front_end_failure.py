"""Why the front end gave up a worker, as its log says it."""

from __future__ import annotations

import pytest

from marsmith.torchserve.front_end_failure import explain_front_end
from marsmith.torchserve.worker_lines import pip_problem

SILENT = """\
2026-11-28T05:29:25,376 W-9000-slow_1.0 ERROR WorkerThread Backend worker error
org.pytorch.serve.wlm.WorkerInitializationException: Backend worker did not respond in given time
\tat org.pytorch.serve.wlm.WorkerThread.run(WorkerThread.java:262)
"""
LOADING = SILENT + (
    "2026-11-28T05:29:25,378 W-9000-slow_1.0 WARN BatchAggregator Load model failed: slow, "
    "error: Worker died.\n"
)
NO_TORCHRUN = """\
2026-11-28T05:29:43,410 W-29500-slow_1.0 WARN WorkerThread Backend worker thread exception.
java.lang.NullPointerException: Cannot invoke "ModelConfig$TorchRun.getOmpNumberThreads()" because \
"torchRun" is null
"""


@pytest.mark.parametrize(
    ("log", "rule", "key"),
    [
        (LOADING, "serving-timeout", "startupTimeout (2 s)"),
        (SILENT, "serving-timeout", "responseTimeout (3 s)"),
        (NO_TORCHRUN, "serving-device", "'tp'"),
    ],
)
def test_a_setting_is_named(log: str, rule: str, key: str) -> None:
    config = {"startupTimeout": 2, "responseTimeout": 3, "parallelType": "tp"}
    found = explain_front_end(log, "slow", "1.0", config)
    assert found
    assert (found.rule, key in found.message) == (rule, True)


def test_another_model_and_another_end_say_nothing() -> None:
    assert explain_front_end(LOADING, "slo", "1.0", {}) is None
    assert explain_front_end(LOADING, "slow", "2.0", {}) is None
    died = LOADING.replace("did not respond in given time", "stream closed.")
    assert explain_front_end(died, "slow", "1.0", {}) is None


MISSING = """\
2026-11-28T05:30:43,568 main ERROR ModelManager Custom pip package installation failed for model m:
Looking in indexes: https://index.test/simple
Collecting pillow==12
ERROR: Could not find a version that satisfies the requirement no-such==1.0 (from versions: none)
ERROR: No matching distribution found for no-such==1.0

2026-11-28T05:30:43,582 main WARN ModelServer Failed to load model: m.mar
"""
NOT_BUILT = MISSING.replace(
    """\
ERROR: Could not find a version that satisfies the requirement no-such==1.0 (from versions: none)
ERROR: No matching distribution found for no-such==1.0
""",
    """\
Collecting old-cv==3.4 (from -r requirements.txt (line 2))
  error: metadata-generation-failed
  ╰─> old-cv
note: This is an issue with the package
""",
)
NOT_CLONED = NOT_BUILT.replace("old-cv==3.4", "lib@").replace(
    "metadata-generation-failed\n  ╰─> old-cv",
    "subprocess-exited-with-error\n  ╰─> See above for output.",
)


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        (MISSING, "No matching distribution found for no-such==1.0"),
        (NOT_BUILT, "old-cv==3.4: metadata-generation-failed"),
        (NOT_CLONED, "lib@: subprocess-exited-with-error"),
        (MISSING.replace("model m:", "model other:"), None),
    ],
)
def test_pips_last_error_is_told(log: str, problem: str | None) -> None:
    assert pip_problem(log, "m") == problem
