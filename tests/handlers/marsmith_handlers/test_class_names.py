"""index_to_name.json: what TorchServe takes is read, what cannot be meant is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marsmith_handlers.class_names import check_count, parse_names, read_names, unique_names
from marsmith_handlers.image_classifier import ImageClassifier

from tests.handlers.asking import DIGIT_CONFIG, SEVEN, Computed, ask, let_load, start

PLAIN = {str(index): f"name {index}" for index in range(10)}


@pytest.mark.parametrize(
    "values",
    [
        PLAIN,
        {key: [f"n0{key}", name] for key, name in PLAIN.items()},
        {"object_type_names": list(PLAIN.values())},
    ],
    ids=["text", "lists", "object_type_names"],
)
def test_what_torchserve_takes_is_read(values: dict[str, Any]) -> None:
    names = parse_names(json.dumps(values))
    check_count(names, 10)
    assert names == {int(key): name for key, name in PLAIN.items()}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({name: int(key) for key, name in PLAIN.items()}, "it maps names to indices"),
        (list(PLAIN.values()), "not a map"),
        ("daisy", "not a map"),
        ({"0": {"name": "daisy"}}, "the name of class 0 is"),
        ({"0": []}, "the name of class 0 is"),
        ({"0": None}, "the name of class 0 is"),
        ({"daisy": "rose"}, "the key 'daisy' is no class index"),
        ({"01": "rose"}, "the key '01' is no class index"),
        ({"²": "rose"}, "is no class index"),
        ({"9" * 5000: "rose"}, "is no class index"),
        ({}, "it names no class"),
        ({"object_type_names": []}, "it names no class"),
        ({"0": ""}, "the name of class 0 is empty"),
        ({"0": ["n01", " \t"]}, "the name of class 0 is empty"),
    ],
)
def test_what_is_no_map_is_refused(values: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_names(json.dumps(values))


def test_a_class_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the key '1' stands there twice"):
        parse_names('{"0": "a", "1": "b", "1": "c"}')


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        (range(1, 11), "counts from 1"),
        (range(8), "8 names, and the model 10 classes: no name for class 8"),
        (range(12), "12 names, and the model 10 classes"),
        ([0, 1, 2, 3, 4, 6, 7, 8, 9, 10], "no name for class 5"),
    ],
)
def test_the_names_must_be_those_of_the_models_classes(indices: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_count({index: f"name {index}" for index in indices}, 10)


def test_without_names_there_is_nothing_to_check(tmp_path: Path) -> None:
    assert read_names(tmp_path) == {}
    check_count({}, 10)


def test_a_byte_order_mark_is_no_part_of_a_map(tmp_path: Path) -> None:
    path = tmp_path / "index_to_name.json"
    path.write_text('{"0": "Größe"}', "utf-8-sig")
    assert read_names(tmp_path) == {0: "Größe"}


@pytest.mark.parametrize("content", [b"{", b"", b'{"0": "\xff"}', b"{}", b"[" * 100_000])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index_to_name.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"index_to_name\.json"):
        read_names(tmp_path)


def test_names_that_repeat_are_told_apart() -> None:
    names = {0: "crane", 1: "heron", 2: "crane", 3: "heron (1)"}
    assert unique_names(names, 4) == ["crane (0)", "heron", "crane (2)", "heron (1)"]
    clash = {0: "crane", 1: "crane", 2: "crane (0)"}
    assert unique_names(clash, 3) == ["crane (0)", "crane (1)", "crane (0) (2)"]


def classifier(patch: pytest.MonkeyPatch, folder: Path, names: Any) -> Any:
    """Start a classifier of ten classes, of which 8 is the surest, with these names."""
    scores = np.log(np.array([0.01] * 6 + [0.3, 0.01, 0.6, 0.03], np.float32))
    let_load(patch, Computed(lambda batch: np.tile(scores, (len(batch), 1))))
    (folder / "index_to_name.json").write_text(json.dumps(names))
    return start(ImageClassifier(), config=DIGIT_CONFIG, folder=folder)


def test_two_classes_of_one_name_stay_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    handler = classifier(monkeypatch, tmp_path, PLAIN | {"6": "crane", "8": "crane"})
    (reply,) = ask(handler, SEVEN)
    answer = reply.json()
    assert (answer["label"], answer["index"]) == ("crane", 8)
    assert answer["confidence"] == pytest.approx(0.6, abs=1e-4)
    assert len(answer["probabilities"]) == 10
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert answer["probabilities"]["crane (6)"] == pytest.approx(0.3, abs=1e-4)
    assert answer["probabilities"]["crane (8)"] == pytest.approx(0.6, abs=1e-4)
    assert "crane" not in answer["probabilities"]


def test_a_map_that_does_not_fit_is_found_at_the_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no name for class 9"):
        classifier(monkeypatch, tmp_path, {key: PLAIN[key] for key in list(PLAIN)[:9]})
