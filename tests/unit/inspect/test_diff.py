"""Files, tensors, values and answers side by side."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from marsmith.answers.messages import Response
from marsmith.archive.reader import Archive
from marsmith.inspect.answer_differences import answer_difference
from marsmith.inspect.diff import Comparison, compare
from marsmith.inspect.tensor_differences import TensorDifference, tensor_differences
from marsmith.weights.checkpoint import read_checkpoint
from tests.codes import tells

Files = dict[str, str | bytes]
MANIFEST = "MAR-INF/MANIFEST.json"
HANDLER = """\
def handle(data, context):
    if data is not None:
        return [{ANSWER} for row in data]
"""
SAMPLES = json.dumps([{"request": "samples/a", "response": "samples/b", "tolerance": 0.5}])


def manifest(**model: Any) -> str:
    return json.dumps({"model": {"modelName": "a", "handler": "handler.py", **model}})


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def zipped(path: Path, files: Mapping[str, str | bytes]) -> Archive:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {MANIFEST: manifest(), **files}.items():
            archive.writestr(name, content)
    return Archive(path)


def compared(
    folder: Path,
    first: Mapping[str, str | bytes],
    second: Mapping[str, str | bytes],
    *,
    run: bool = False,
) -> Comparison:
    archives = zipped(folder / "a.mar", first), zipped(folder / "b.mar", second)
    return compare(*archives, run=run)


# ---- files and values


def test_an_archive_is_the_same_in_every_form(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.mar", {"handler.py": "x = 1\n", "in/deep.txt": "1"})
    archive.unpack(tmp_path / "folder")
    comparison = compare(archive, Archive(tmp_path / "folder"), run=False)
    assert comparison.is_same
    assert (comparison.files, comparison.values, comparison.problems) == ([], [], [])


def test_files_that_differ_come_with_their_lines_if_those_are_few(tmp_path: Path) -> None:
    many = "".join(f"{n}\n" for n in range(1000))
    first: Files = {"a.py": "1\n2\n3\n", "b.bin": b"\0\1", "c.txt": many, "gone.txt": "x"}
    second: Files = {
        "a.py": "1\nzwei\n3\n",
        "b.bin": b"\0\2",
        "c.txt": many.replace("1", "2"),
        "new": "",
    }
    found = compared(tmp_path, first, second)
    assert [(one.name, one.kind, bool(one.lines)) for one in found.files] == [
        ("a.py", "changed", True),
        ("b.bin", "changed", False),
        ("c.txt", "changed", False),
        ("gone.txt", "removed", False),
        ("new", "added", False),
    ]
    assert found.files[0].lines[:2] == ("--- A/a.py", "+++ B/a.py")
    assert {"-2", "+zwei"} <= set(found.files[0].lines)
    assert not found.is_same


def test_values_of_manifest_and_config_are_told_by_key(tmp_path: Path) -> None:
    first = {MANIFEST: manifest(configFile="c.yaml", modelVersion="1"), "c.yaml": "a: {b: 1, c: 2}"}
    second = {MANIFEST: manifest(configFile="c.yaml"), "c.yaml": "a: {b: [1], c: 2}\nd: 0"}
    found = compared(tmp_path, first, second)
    assert [(one.part, one.key, one.before, one.after) for one in found.values] == [
        ("manifest", "model.modelVersion", "1", None),
        ("config", "a.b", 1, [1]),
        ("config", "d", None, 0),
    ]
    assert all(one.lines == () for one in found.files)


def test_a_config_that_cannot_be_read_is_a_problem_of_its_own(tmp_path: Path) -> None:
    first = {MANIFEST: manifest(configFile="c.yaml"), "c.yaml": "a: ["}
    found = compared(tmp_path, first, {**first, "c.yaml": "a: 1", "more.txt": ""})
    assert found.problems == [("A", found.problems[0][1])]
    assert tells(found.problems[0][1], "c.yaml")
    assert [one.name for one in found.files] == ["c.yaml", "more.txt"]


# ---- tensors


def differences(tmp_path: Path, first: Any, second: Any) -> list[TensorDifference]:
    tensors = []
    for name, state in (("first.pth", first), ("second.pth", second)):
        torch.save(state, tmp_path / name)
        tensors.append(read_checkpoint(tmp_path / name).tensors)
    return tensor_differences(*tensors)


FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64, torch.int8, torch.uint8, torch.int16])
def test_the_largest_difference_is_exact_in_every_type(tmp_path: Path, dtype: torch.dtype) -> None:
    first = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.float64).to(dtype)
    second = first.clone()
    second.view(-1)[:2] = torch.tensor([2, 4], dtype=torch.float64).to(dtype)
    (found,) = differences(tmp_path, {"w": first}, {"w": second})
    assert (found.kind, found.count, found.largest, found.not_finite) == ("values", 2, 2.0, 0)
    assert found.before == f"{str(dtype).removeprefix('torch.')} 2 x 3"
    assert differences(tmp_path, {"w": first}, {"w": first}) == []


def test_random_tensors_differ_as_torch_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.complex64):
        first, second = torch.randn(31, 7).to(dtype), torch.randn(31, 7).to(dtype)
        (found,) = differences(tmp_path, {"w": first}, {"w": second})
        wide = torch.complex128 if dtype.is_complex else torch.float64
        assert found.largest == pytest.approx(float((first.to(wide) - second.to(wide)).abs().max()))
        assert found.count == int((first != second).sum())


def test_large_tensors_and_views_are_compared_piece_by_piece(tmp_path: Path) -> None:
    first = torch.zeros(3000, 3000)
    second = first.t().contiguous().t()
    second[2999, 2998] = 0.5
    (found,) = differences(tmp_path, {"w": first}, {"w": second})
    assert (found.count, found.largest) == (1, 0.5)


def test_nan_and_infinity_are_counted_apart(tmp_path: Path) -> None:
    nan, inf = math.nan, math.inf
    first, second = torch.tensor([nan, 1, inf, inf, 1]), torch.tensor([nan, nan, inf, -inf, 3])
    (found,) = differences(tmp_path, {"w": first}, {"w": second})
    assert (found.count, found.not_finite, found.largest) == (3, 2, 2.0)
    (found,) = differences(tmp_path, {"w": first[1:2]}, {"w": second[1:2]})
    assert (found.count, found.not_finite, found.largest) == (1, 1, None)


def test_other_names_shapes_and_types_are_told(tmp_path: Path) -> None:
    first = {"a": torch.ones(2), "b": torch.ones(2, 3), "c": torch.tensor(0.1), "d": torch.ones(1)}
    second = {"b": torch.ones(3, 2), "c": torch.tensor(0.1).half(), "d": torch.ones(1).int()}
    found = differences(tmp_path, first, {**second, "e": torch.ones(())})
    assert [(one.name, one.kind, one.before, one.after) for one in found] == [
        ("a", "missing", "float32 2", ""),
        ("b", "shape", "float32 2 x 3", "float32 3 x 2"),
        ("c", "dtype", "float32 scalar", "float16 scalar"),
        ("d", "dtype", "float32 1", "int32 1"),
        ("e", "added", "", "float32 scalar"),
    ]
    assert found[2].largest == pytest.approx(abs(float(torch.tensor(0.1).half()) - 0.1), rel=1e-3)
    assert (found[3].count, found[3].largest) == (0, 0.0)


def test_types_that_numpy_has_not_are_counted(tmp_path: Path) -> None:
    first, second = (torch.tensor(v).to(torch.float8_e4m3fn) for v in ([1.0, 2, 3], [1.0, 2, 4]))
    (found,) = differences(tmp_path, {"w": first}, {"w": second})
    assert (found.kind, found.count, found.largest) == ("values", 1, None)


def test_weights_of_other_names_and_kinds_are_held_against_each_other(
    tmp_path: Path,
) -> None:
    net = torch.nn.Linear(2, 2)
    file = io.BytesIO()
    torch.export.save(torch.export.export(net, (torch.ones(1, 2),)), file)
    second = {name: one.clone() for name, one in net.state_dict().items()}
    second["bias"][0] += 1
    found = compared(
        tmp_path,
        {MANIFEST: manifest(serializedFile="w.pt2"), "w.pt2": file.getvalue()},
        {MANIFEST: manifest(serializedFile="x.pth"), "x.pth": saved(second)},
    )
    (weights,) = found.weights
    assert (weights.names, weights.same, weights.problem) == (("w.pt2", "x.pth"), 1, "")
    assert [one.name for one in weights.tensors] == ["bias"]


def test_weights_that_cannot_be_read_are_a_problem_of_their_own(tmp_path: Path) -> None:
    first: Files = {MANIFEST: manifest(serializedFile="w.pth"), "w.pth": b"none"}
    found = compared(tmp_path, first, {**first, "w.pth": saved({"w": torch.ones(1)})})
    assert found.weights[0].problem == "the file was not written by torch.save"
    assert not found.is_same


# ---- answers


def answer(
    body: bytes | Any, content_type: str = "application/json", status: int = 200
) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, "", {"content-type": content_type}, content)


def picture(value: int, size: int = 2) -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (size, 2), (10, 10, 10))
    image.putpixel((0, 0), (value, 10, 10))
    image.save(file, "PNG")
    return file.getvalue()


def test_numbers_differ_by_so_much_and_all_else_by_what_it_says() -> None:
    first = {"p": [0.5, 1], "n": 1, "label": "a", "gone": None, "flag": True}
    second = {"p": [0.25, 2.5], "n": 1.0, "label": "b", "flag": 1}
    found = answer_difference(answer(first), answer(second))
    assert found
    assert (found.largest, found.place, found.mean) == (1.5, "p[1]", None)
    label, gone, flag = found.others
    assert (label, flag) == ('label: "a" → "b"', "flag: true → 1")
    assert tells(gone, "gone:", "null")


@pytest.mark.parametrize(
    "same",
    [
        (b'{"a": 1, "b": 2}', b'{"b": 2.0, "a": 1}'),
        (b"[NaN]", b"[ NaN ]"),
        (picture(9), picture(9)),
        (b"", b""),
    ],
)
def test_answers_that_say_the_same_are_the_same(same: tuple[bytes, bytes]) -> None:
    assert answer_difference(answer(same[0]), answer(same[1])) is None


def test_pictures_differ_on_average_and_at_most() -> None:
    found = answer_difference(answer(picture(10)), answer(picture(61)))
    assert found
    assert found.largest == pytest.approx(51 / 255)
    assert found.mean == pytest.approx(51 / 255 / 12)
    found = answer_difference(answer(picture(10)), answer(picture(10, size=3)))
    assert found
    assert tells(found.others[0], "2 x 2", "3 x 2")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (answer(b"yes", "text/plain"), answer(b"no", "text/plain"), "yes → no"),
        (answer(b"a b", "text/plain"), answer(b"a  b", "text/plain"), ""),
        (answer(b"x", "text/plain"), answer(b"x", "text/html"), " text/plain → text"),
        (answer(1), answer({"message": "no"}, status=400), " 200 → 400 (no)"),
        (answer(1), answer("1"), '1 → "1"'),
        (answer([1]), answer([1, 2]), "[1] → [1, 2]"),
        (answer(10**400), answer(1), " → 1"),
        (answer([math.nan]), answer([1]), "[0]: NaN → 1"),
        (answer(b"[" * 9999), answer(b"[" * 9998), "…[["),
    ],
)
def test_all_other_answers_say_how_they_differ(
    first: Response, second: Response, said: str
) -> None:
    found = answer_difference(first, second)
    assert found
    assert found.largest is None
    assert said in found.others[0]
    assert len(found.others[0]) < 150


def test_texts_are_shown_from_where_they_part() -> None:
    text = b"x" * 500
    found = answer_difference(answer(text + b"1"), answer(text + b"2"))
    assert found
    assert found.others[0] == "…" + "x" * 15 + "1 → …" + "x" * 15 + "2"


def handler(value: str, **more: str | bytes) -> Files:
    return {"handler.py": HANDLER.replace("{ANSWER}", value), **more}


def samples(request: str) -> Files:
    return {"samples/samples.json": SAMPLES, "samples/a": request, "samples/b": "[1]"}


def test_both_answer_the_samples_of_both(tmp_path: Path) -> None:
    first = handler("{'n': len(row['body']), 'who': 'me'}", **samples("four"))
    second = handler("{'n': len(row['body']) + 0.25, 'who': 'me'}", **samples("seven.."))
    found = compared(tmp_path, first, second, run=True)
    assert [(one.request, one.sides) for one in found.answers] == [("a", ("A",)), ("a", ("B",))]
    for one in found.answers:
        assert one.difference
        assert (one.difference.largest, one.difference.place) == (0.25, "n")
    assert (found.load_failures, found.problems) == ({}, [])


def test_one_request_of_both_is_asked_once(tmp_path: Path) -> None:
    files = handler("1", **samples("x"))
    found = compared(tmp_path, files, files, run=True)
    assert [(one.sides, one.difference) for one in found.answers] == [(("A", "B"), None)]
    assert found.is_same


def test_an_archive_that_does_not_load_says_so_in_its_place(tmp_path: Path) -> None:
    broken: Files = {"handler.py": "import nothing_such\n", **samples("x")}
    found = compared(tmp_path, handler("1", **samples("x")), broken, run=True)
    assert "nothing_such" in found.load_failures["B"]
    assert (found.answers, found.is_same) == ([], False)
    assert [one.name for one in found.files] == ["handler.py"]
    both = compared(tmp_path, broken, broken, run=True)
    assert (set(both.load_failures), both.is_same) == ({"A", "B"}, True)


def test_an_archive_too_old_for_torchserve_is_compared_all_the_same(tmp_path: Path) -> None:
    old: Files = {MANIFEST: '{"model": {"modelName": "a"}}', **samples("x")}
    found = compared(tmp_path, handler("1", **samples("x")), old, run=True)
    assert found.load_failures.keys() == {"B"}
    assert [(one.key, one.after) for one in found.values] == [("model.handler", None)]


def test_samples_that_cannot_be_read_are_a_problem_of_their_own(tmp_path: Path) -> None:
    second = handler("1", **{"samples/samples.json": "{"})
    found = compared(tmp_path, handler("1"), second, run=True)
    assert [side for side, _ in found.problems] == ["B"]
    assert found.answers == []
