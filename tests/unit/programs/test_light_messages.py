"""marsmith/programs/light_messages.py, against TorchServe's own worker and our front end's side."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from marsmith.answers.messages import Request
from marsmith.programs.light_context import Context, RequestProcessor
from marsmith.programs.light_messages import answered, failed, loaded, read_batch
from marsmith.programs.light_metrics import Metrics
from marsmith.torchserve import worker_protocol
from marsmith.torchserve.environment import torchserve_home
from marsmith.torchserve.worker_protocol import encode_batch


def context(count: int) -> Context:
    metrics = torchserve_home() / "ts" / "configs" / "metrics.yaml"
    made = Context("tiny", {}, {}, {}, Metrics(str(metrics), "tiny"))
    made.request_processor = [RequestProcessor({}) for _ in range(count)]
    return made


def received(message: bytes, ids: list[str]) -> list[Any]:
    """Return what our front end's side reads of a worker's answer."""
    return list(worker_protocol.read_batch(io.BytesIO(message).read, ids))


def requests(*given: Request) -> list[Any]:
    message = io.BytesIO(encode_batch(list(given), [f"id-{n}" for n in range(len(given))]))
    message.read(1)  # that it is a batch
    return read_batch(message.read)


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/json", b"{", bytearray(b"{")),
        ("application/json", b"[" * 100_000, bytearray(b"[" * 100_000)),
        ("text/plain", "größe".encode(), "größe"),
        ("text/plain", b"\xff", bytearray(b"\xff")),
        ("image/png", b'{"a": 1}', bytearray(b'{"a": 1}')),
    ],
)
def test_json_and_text_are_values_and_all_else_is_bytes(
    content_type: str, body: bytes, value: Any
) -> None:
    (request,) = requests(Request(body, content_type))
    assert request.id == "id-0"
    assert list(request.values.values()) == [value]
    assert type(next(iter(request.values.values()))) is type(value)


def test_a_batch_keeps_its_order_and_its_headers() -> None:
    one, two = requests(Request(b"1", headers={"x-a": "b"}), Request(b"2"))
    assert [one.id, two.id] == ["id-0", "id-1"]
    assert one.headers["x-a"] == "b"
    assert "x-a" not in two.headers


def test_answers_of_all_kinds_arrive_with_their_status() -> None:
    made = context(3)
    made.set_response_status(415, "No", 1)
    made.set_response_content_type(1, "text/plain")
    ids = {0: "a", 1: "b", 2: "c"}
    first, second, third = received(answered([b"x", "ü", {"n": 1}], ids, made), list("abc"))
    assert (first.status, first.body) == (200, b"x")
    assert (second.status, second.body) == (415, "ü".encode())
    assert second.content_type == "text/plain"
    assert third.body == b'{\n  "n": 1\n}'


def test_what_has_no_form_fails_the_batch() -> None:
    ids = {0: "a", 1: "b"}
    answers = received(answered([b"x", {1, 2}], ids, context(2)), ["a", "b"])
    assert [one.status for one in answers] == [503, 503]
    assert answers == received(
        failed(ids, "Unsupported model output data type.", 503), ["a", "b"]
    )  # TorchServe's own words


@pytest.mark.parametrize(("code", "message"), [(200, "loaded"), (507, "größe")])
def test_the_answer_to_a_load_arrives(code: int, message: str) -> None:
    said = worker_protocol.read_message(io.BytesIO(loaded(code, message)).read)
    assert (said.code, said.text, said.answers) == (code, message, {})


def test_metrics_refuse_what_torchserves_own_refuse(tmp_path: Path) -> None:
    config = tmp_path / "metrics.yaml"
    config.write_text(
        "model_metrics:\n  counter:\n  - {name: Asked, unit: count, dimensions: [Level]}\n"
    )
    metrics = Metrics(str(config), "tiny")
    assert metrics.get_metric("Asked").metric_name == "Asked"
    with pytest.raises(KeyError):
        metrics.get_metric("Other")
    with pytest.raises(TypeError):
        metrics.get_metric("Asked", "counter")
    with pytest.raises(ValueError, match="'hours'"):
        metrics.add_time("t", 1, unit="hours")
    with pytest.raises(ValueError, match="'TB'"):
        metrics.add_size("s", 1, unit="TB")
    metrics.add_size("s", 1, unit="kB")
