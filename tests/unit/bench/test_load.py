"""What scripts/bench takes for a right answer, and how it reads wrk."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import load, systems
from bench.answers import Case, picture_check, probabilities_check, turn_check
from bench.failures import BenchError, SystemFailedError
from bench.marsmith_server import repeat_archive

LINE = (
    '{"requests": 5000, "microseconds": 2500000, "p50": 900.0, "p99": 4100.0, '
    '"refused": %d, "failed": %d}\n'
)
EXPECTED = {str(digit): (0.91 if digit == 7 else 0.01) for digit in range(10)}


def test_wrk_is_read() -> None:
    assert load.parse("Running 3s test\n" + LINE % (0, 0)) == load.Load(2000.0, 0.9, 4.1)


@pytest.mark.parametrize("output", [LINE % (1, 0), LINE % (0, 1), "", LINE.replace("5000", "0")])
def test_a_failed_request_fails_the_system(output: str) -> None:
    with pytest.raises(SystemFailedError):
        load.parse(output % (0, 0) if "%d" in output else output)


def test_missing_wrk_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchError) as caught:
        load.require_wrk()
    assert "wrk" in caught.value.format_message()
    assert "hint: " in caught.value.format_message()


def test_both_forms_of_probabilities_are_understood() -> None:
    check = probabilities_check(EXPECTED, 0.01)
    best = dict(sorted(EXPECTED.items(), key=lambda pair: -pair[1])[:5])
    assert check(json.dumps({"label": "7", "probabilities": EXPECTED}).encode()) is None
    assert check(json.dumps(best).encode()) is None


@pytest.mark.parametrize(
    "answer", [{**EXPECTED, "7": 0.88}, {"7": 0.91}, {"0": 1.0}, dict.fromkeys(EXPECTED, 0.1)]
)
def test_wrong_probabilities_are_seen(answer: dict[str, float]) -> None:
    assert probabilities_check(EXPECTED, 0.01)(json.dumps(answer).encode())


def test_turns() -> None:
    assert turn_check(90)(b'{"model_degree": 90}') is None
    assert turn_check(90)(b'{"model_degree": 0}')


def test_pictures() -> None:
    pixels = np.full((8, 8, 3), 100, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert picture_check(pixels, 0.01)(buffer.getvalue()) is None
    assert picture_check(pixels + 10, 0.01)(buffer.getvalue())
    assert picture_check(pixels[:4], 1.0)(buffer.getvalue())


def test_a_picture_goes_into_a_form() -> None:
    request = systems.post_form("/p", "file")(Case("", b"\x89PNG", "image/png", lambda _: None))
    assert b'name="file"; filename="picture"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n' in (
        request.body
    )


def test_an_archive_is_repeated_under_other_names(tmp_path: Path) -> None:
    spec = tmp_path / "archives.toml"
    spec.write_text(
        '# text\n\n[archives.a]\nversion = "1"\n\n[archives.a.serving]\nx = 1\n\n'
        '[[archives.a.samples]]\nrequest = "r"\n\n[archives.b]\nversion = "1"\n'
    )
    assert repeat_archive(spec, "a", 2) == ["a-1", "a-2"]
    heads = [line for line in spec.read_text().splitlines() if line.startswith("[")]
    own = ["[archives.a-{}]", "[archives.a-{}.serving]", "[[archives.a-{}.samples]]"]
    assert heads == [head.format(number) for number in (1, 2) for head in own]
