"""Asking a server that runs: predict, models, scale."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.integration.kit import ROOT, Served

SEVEN = ROOT / "samples" / "seven.png"
THREE = ROOT / "samples" / "three-photo.jpg"


def _send(served: Served, body: bytes, content_type: str = "image/png") -> tuple[int, bytes]:
    """Send one raw body; return status and body."""
    request = urllib.request.Request(
        served.url("/predictions/digits"), body, {"Content-Type": content_type}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_predict_shows_a_table_and_gives_json(served: Served) -> None:
    table = served.kit("predict", "digits", SEVEN, THREE).stdout.splitlines()
    assert table[0].split() == ["input", "answer", "confidence"]
    assert [line.split()[1] for line in table[1:]] == ["7", "3"]

    first, second = served.kit.json("predict", "digits", SEVEN, THREE)
    assert first["status"] == second["status"] == 200
    assert first["answer"]["label"] == "7"
    probabilities = second["answer"]["probabilities"]
    assert list(probabilities) == [str(digit) for digit in range(10)]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert second["answer"]["confidence"] == probabilities["3"] > 0.9


def test_predict_exits_with_1_when_an_image_is_refused(served: Served, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    result = served.kit("predict", "digits", SEVEN, text, check=False)
    rows = json.loads(served.kit("predict", "digits", SEVEN, text, "--json", check=False).stdout)
    assert result.returncode == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [str(SEVEN), str(text)]
    assert " 400: " in result.stdout.splitlines()[-1]
    assert [one["status"] for one in rows] == [200, 400]


def test_an_unknown_model_gives_one_line_per_image(served: Served) -> None:
    result = served.kit("predict", "letters", SEVEN, check=False)
    assert result.returncode == 1
    assert " 404: " in result.stdout.splitlines()[-1]


def test_usage_errors_exit_with_2(served: Served) -> None:
    assert served.kit("predict", "digits", check=False).returncode == 2
    assert served.kit("scale", "digits", "2:1", check=False).returncode == 2
    assert served.kit("scale", "digits", "many", check=False).returncode == 2


def _digits(served: Served) -> dict[str, Any]:
    """Return what `marsmith models` says of digits."""
    models: list[dict[str, Any]] = served.kit.json("models")
    return next(one for one in models if one["name"] == "digits")


def test_models_lists_workers_and_batching(served: Served) -> None:
    model = _digits(served)
    assert (model["version"], model["default"]) == ("1.0", True)
    assert (model["batchSize"], model["maxBatchDelay"]) == (32, 2)
    assert model["memory"] > 50_000_000
    assert {worker["state"] for worker in model["workers"]} == {"READY"}
    assert "digits" in served.kit("models").stdout


def test_scale_returns_when_the_workers_are_up(served: Served) -> None:
    assert "2 of 2:2" in served.kit("scale", "digits", "2").stdout
    model = _digits(served)
    assert [worker["state"] for worker in model["workers"]] == ["READY", "READY"]
    served.kit("scale", "digits", "1:2")
    served.kit("scale", "digits", "1:1")
    model = _digits(served)
    assert [worker["state"] for worker in model["workers"]] == ["READY"]


def test_scaling_an_unknown_model_names_the_next_step(served: Served) -> None:
    result = served.kit("scale", "letters", "1", check=False)
    assert result.returncode == 1
    assert "error[refused]" in result.stderr
    assert "404" in result.stderr


def test_a_bad_image_leaves_its_batch_alone(served: Served) -> None:
    seven, three = SEVEN.read_bytes(), THREE.read_bytes()
    bodies = [seven, b"not an image", three, seven[:100], three] * 12
    with ThreadPoolExecutor(len(bodies)) as threads:
        answers = list(threads.map(lambda body: _send(served, body), bodies))
    for body, (status, answer) in zip(bodies, answers, strict=True):
        if body in (seven, three):
            assert status == 200
            assert json.loads(answer)["label"] == ("7" if body == seven else "3")
        else:
            assert status == 400
            assert "\n" not in json.loads(answer)["error"]["message"]


def _encoded(change: Callable[[Image.Image], Image.Image], kind: str) -> bytes:
    """Return the sample seven, changed and in another format."""
    buffer = io.BytesIO()
    with Image.open(SEVEN) as image:
        change(image.convert("L")).save(buffer, kind)
    return buffer.getvalue()


def _rgba(image: Image.Image) -> Image.Image:
    """A black figure on transparent ground: only laid over white does it show."""
    black = Image.new("RGBA", image.size, (0, 0, 0, 0))
    black.putalpha(image)
    return black


def _wide(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)


KINDS: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "grey": (lambda image: image, "PNG"),
    "rgb": (lambda image: image.convert("RGB"), "PNG"),
    "rgba": (_rgba, "PNG"),
    "palette": (lambda image: image.convert("P"), "PNG"),
    "one-bit": (lambda image: image.convert("1"), "PNG"),
    "16-bit": (_wide, "PNG"),
    "jpeg": (lambda image: image.resize((280, 280)), "JPEG"),
    "cmyk": (lambda image: image.resize((280, 280)).convert("CMYK"), "JPEG"),
    "webp": (lambda image: image.convert("RGB"), "WEBP"),
    "gif": (lambda image: image, "GIF"),
    "inverted": (lambda image: Image.eval(image, lambda value: 255 - value), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_gets_its_answer(served: Served, kind: str) -> None:
    # The content type says PNG throughout: content decides, not what it is called.
    status, answer = _send(served, _encoded(*KINDS[kind]))
    assert status == 200, answer
    assert json.loads(answer)["label"] == "7"


@pytest.mark.parametrize("field", ["data", "image", "file", "body"])
def test_multipart_is_accepted(served: Served, field: str) -> None:
    boundary = "an-image-follows"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="x.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + THREE.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    status, answer = _send(served, body, f"multipart/form-data; boundary={boundary}")
    assert status == 200, answer
    assert json.loads(answer)["label"] == "3"


def _bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "no_image"),
        (b"some words", 400, "not_an_image"),
        (b"%PDF-1.7", 415, "unsupported_type"),
        (THREE.read_bytes()[:20_000], 400, "broken_image"),
        (SEVEN.read_bytes()[:150], 400, "broken_image"),
        (_bomb(), 413, "too_many_pixels"),
    ],
    ids=["empty", "text", "pdf", "cut-jpeg", "cut-png", "bomb"],
)
def test_what_is_no_image_is_refused_with_a_reason(
    served: Served, body: bytes, status: int, code: str
) -> None:
    got, answer = _send(served, body)
    assert got == status, answer
    error = json.loads(answer)["error"]
    assert error["code"] == code
    assert error["message"] and error["hint"]


def test_prometheus_metrics_are_there(served: Served) -> None:
    _send(served, SEVEN.read_bytes())
    with urllib.request.urlopen(served.url("/metrics", 2), timeout=30) as response:
        assert b'ts_inference_requests_total{model_name="digits"' in response.read()
