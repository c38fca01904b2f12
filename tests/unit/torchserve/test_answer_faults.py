"""What is said of a return value, from a watched worker's note or from the log alone."""

from __future__ import annotations

import json

import pytest

from marsmith.answers.messages import Response
from marsmith.torchserve.answer_faults import Returned, answer_fault

COUNT = "number of batch response mismatched"
NOT_A_LIST = "Invalid model predict output"
NOT_SENT = "Unsupported model output data type."


def failed(message: str, status: int = 503) -> Response:
    return Response(status, "", {}, json.dumps({"code": status, "message": message}).encode())


@pytest.mark.parametrize(
    ("message", "log", "rule", "said"),
    [
        (COUNT, f"model: a, {COUNT}, expect: 4, got: 20.", "answer-count", "20 answers for 4"),
        (COUNT, "", "answer-count", "another number"),
        (NOT_A_LIST, "Invalid return type: <class 'torch.Tensor'>.", "answer-type", "torch.Tensor"),
        (NOT_A_LIST, "Invalid return type: <class 'NoneType'>.", "answer-type", "None"),
        (
            NOT_SENT,
            "TypeError: Object of type float32 is not JSON serializable",
            "answer-type",
            "type float32",
        ),
        (
            NOT_SENT,
            "TypeError: keys must be str, int, float, bool or None, not tuple",
            "answer-type",
            "key of type tuple",
        ),
    ],
)
def test_a_log_says_number_and_type(message: str, log: str, rule: str, said: str) -> None:
    found = answer_fault(failed(message), log)
    assert found is not None
    assert found.rule == rule
    assert said in found.message
    assert found.hint


def test_only_the_last_failure_in_the_log_counts() -> None:
    log = f"{COUNT}, expect: 1, got: 5.\n{COUNT}, expect: 2, got: 3."
    found = answer_fault(failed(COUNT), log)
    assert found is not None
    assert "3 answers for 2 requests" in found.message


def test_a_note_says_shape_and_place() -> None:
    array = Returned(1, "numpy.ndarray", 1, (1, 10))
    found = answer_fault(failed(NOT_A_LIST), "", array)
    assert found is not None
    assert "numpy.ndarray of shape (1, 10) for 1 request" in found.message
    assert ".tolist()" in found.hint
    nested = Returned(2, "list", 2, None, "[1]['boxes']", "numpy.float32")
    found = answer_fault(failed(NOT_SENT), "", nested)
    assert found is not None
    assert "numpy.float32 at [1]['boxes']" in found.message
    assert ".item()" in found.hint


@pytest.mark.parametrize(
    ("whole", "kind", "cure"),
    [
        (True, "bytes", "into a list"),
        (True, "int", "into a list"),
        (True, "numpy.float32", ".item()"),
        (True, "coroutine", "`def handle`"),
        (True, "collections.deque", "list()"),
        (False, "bytes", "base64"),
        (False, "uuid.UUID", "str()"),
        (False, "numpy.bool", ".item()"),
        (False, "my.Dataclass", "a dict"),
        (False, "dict with a key of type tuple", "str() on the key"),
        (False, "dict with a key of type numpy.int64", ".item()"),
    ],
)
def test_the_cure_fits_the_type_and_its_place(whole: bool, kind: str, cure: str) -> None:
    seen = Returned(1, kind if whole else "list", place="" if whole else "[0]['a']", value=kind)
    found = answer_fault(failed(NOT_A_LIST if whole else NOT_SENT), "", seen)
    assert found is not None
    assert cure in found.hint


@pytest.mark.parametrize(
    "answer", [failed("Prediction failed"), failed(COUNT, 500), Response(503, "", {}, b"\xff")]
)
def test_other_failures_are_not_of_the_return_value(answer: Response) -> None:
    assert answer_fault(answer, "") is None
