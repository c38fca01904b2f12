"""What scripts/bench tells TorchServe beyond its defaults."""

from __future__ import annotations

import json
import os

from bench.answers import classes_check
from bench.torchserve import BEST, OUT_OF_THE_BOX, Settings


def test_out_of_the_box_nothing_is_told() -> None:
    assert OUT_OF_THE_BOX.lines("digits.mar", "digits") == ""
    assert not OUT_OF_THE_BOX.environment


def test_a_batch_is_told_with_the_model_and_its_workers() -> None:
    name, _, told = BEST.lines("digits.mar", "digits").partition("=")
    version = json.loads(told)["digits"]["1.0"]
    assert name == "models"
    assert version["marName"] == "digits.mar"
    assert version["batchSize"] == 32
    assert version["minWorkers"] == version["maxWorkers"] == (os.cpu_count() or 1)


def test_workers_alone_are_a_default() -> None:
    assert Settings("one", workers=1).lines("a.mar", "a") == "default_workers_per_model=1\n"


def test_an_answer_about_classes_need_not_be_right_but_of_that_form() -> None:
    classes = {str(number): 0.2 for number in range(5)}
    assert classes_check()(json.dumps(classes).encode()) is None
    assert classes_check()(json.dumps({**classes, "0": 1.5}).encode())
    assert classes_check()(b'{"0": 1.0}')
