"""Messages read ahead are the messages that TorchServe's own reader reads."""

from __future__ import annotations

import importlib
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ts
import ts.metrics.caching_metric
import ts.service
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.service import Service

from marsmith.answers.messages import Request
from marsmith.programs import light_service, worker_patches
from marsmith.programs.light_messages import InferenceRequest, LoadRequest, failed
from marsmith.torchserve.worker_protocol import encode_batch


@pytest.fixture
def reader() -> Iterator[Any]:
    """TorchServe's module, patched; put back as it was, for other tests."""
    module = importlib.import_module("ts.protocol.otf_message_handler")
    kept = {name: vars(module)[name] for name in ("_retrieve_buffer", "retrieve_msg")}
    add_time, respond = MetricsCacheYamlImpl.add_time, ts.service.create_predict_response
    filters, predict = list(logging.getLogger().filters), Service.predict
    yield module
    Service.predict, ts.service.create_predict_response = predict, respond
    vars(module).update(kept)
    MetricsCacheYamlImpl.add_time = add_time
    logging.getLogger().filters[:] = filters


def messages() -> list[bytes]:
    chance = random.Random(0)  # noqa: S311
    sizes = [0, 1, 300, 70_000, 3_000_000]
    requests = [
        Request(chance.randbytes(size), headers={f"h{i}": "v" * i for i in range(size % 9)})
        for size in sizes
    ]
    return [encode_batch(requests[:n], [f"id-{i}" for i in range(n)]) for n in (1, 5, 3, 2)]


def read_all(reader: Any, data: bytes, pieces: int, count: int) -> list[Any]:
    """Send bytes through a socket, so many at a time, and read `count` messages."""
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def send() -> None:
            for start in range(0, len(data), pieces):
                theirs.sendall(data[start : start + pieces])
            theirs.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        found = [reader.retrieve_msg(ours) for _ in range(count)]
        sender.join()
    return found


@pytest.mark.parametrize("pieces", [997, 65_536, 10_000_000])
def test_the_same_messages_in_pieces_of_any_size(reader: Any, pieces: int) -> None:
    sent = messages()
    expected = read_all(reader, b"".join(sent), pieces, len(sent))
    worker_patches.patch_worker()
    assert read_all(reader, b"".join(sent), pieces, len(sent)) == expected
    assert read_all(reader, sent[0], pieces, 1) == expected[:1]  # another connection


def test_what_is_decoded_is_decoded_as_before(reader: Any) -> None:
    bodies = [("application/json", b'{"a": 1}'), ("text/plain", "größe".encode())]
    bodies += [("application/json", b"{"), ("image/png", b"{}"), ("text/x", b"\xff")]
    requests = [Request(body, kind, headers={"accept": "*/*"}) for kind, body in bodies]
    sent = [encode_batch([one], ["a"]) for one in requests]
    sent.append(encode_batch(requests, [f"id-{i}" for i in range(len(requests))]))
    expected = read_all(reader, b"".join(sent), 10_000, len(sent))
    worker_patches.patch_worker()
    assert read_all(reader, b"".join(sent), 10_000, len(sent)) == expected


def _context(count: int) -> Any:
    context = Context("echo", ".", {}, count, None, "0.12.0")
    context.request_processor = [RequestProcessor({}) for _ in range(count)]
    return context


def _full(context: Any) -> Any:
    context.set_response_content_type(0, "text/plain; charset=utf-8")
    context.set_response_header(0, "Cache-Control", "größe")
    context.set_response_status(415, "Unsupported Media Type", 1)
    context.set_response_header(1, "ts_stream_next", "true")
    return context


def _stopping(context: Any) -> Any:
    context.stopping_criteria = {0: lambda _: True, 1: lambda _: False, 2: lambda _: None}
    return context


@pytest.mark.parametrize("change", [lambda one: one, _full, _stopping])
@pytest.mark.parametrize("last", [b"three", "three", bytearray(b"three"), {"a": [1, None]}, {1j}])
def test_answers_are_the_bytes_that_torchserve_writes(
    reader: Any, change: Callable[[Any], Any], last: Any
) -> None:
    ids, results = {0: "first", 1: "second", 2: "third"}, [b"", b"two" * 1000, last]
    said = ("Prediction success", 200)
    expected = reader.create_predict_response(results, ids, *said, context=change(_context(3)))
    worker_patches.patch_worker()
    ours = ts.service.create_predict_response
    assert ours(results, ids, *said, context=change(_context(3))) == expected


def test_parts_and_failures_are_the_bytes_that_torchserve_writes(
    reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {0: "first"}
    part = ([b"one"], ids, "Prediction success", 200, _context(1), True)
    failure = (None, ids, "Out of resources", 507)
    expected = [reader.create_predict_response(*one) for one in (part, failure)]
    worker_patches.patch_worker()
    ours = ts.service.create_predict_response
    assert [ours(*one) for one in (part, failure)] == expected
    monkeypatch.setenv("LOCAL_RANK", "1")  # a process of several that have one model together
    assert ours([b"one"], ids, "Prediction success", 200, context=_context(1)) is None


def test_a_front_end_that_goes_ends_the_worker(reader: Any) -> None:
    worker_patches.patch_worker()
    with pytest.raises(SystemExit) as caught:
        read_all(reader, messages()[1][:500], 100, 1)
    assert caught.value.code == 0


def test_the_line_per_batch_is_left_out_and_others_are_not(
    reader: Any, caplog: pytest.LogCaptureFixture
) -> None:
    worker_patches.patch_worker()
    with caplog.at_level(logging.INFO):
        read_all(reader, messages()[0], 1000, 1)
        logging.info("something else")
    assert [record.message for record in caplog.records] == ["something else"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("reader")
def test_the_prediction_time_is_told_once_a_second_and_other_metrics_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(ts.metrics.caching_metric.logger, "info", told.append)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    worker_patches.patch_worker()
    stock = Path(ts.__file__).parent / "configs" / "metrics.yaml"
    metrics: Any = MetricsCacheYamlImpl(config_file_path=str(stock))
    metrics.initialize_cache()
    metrics.model_name, metrics.request_ids = "digits", {0: "one"}
    for step in range(25):
        now = 100.0 + step / 10
        metrics.add_time("PredictionTime", step)
    values = [line.split(":")[1].split("|")[0] for line in told]
    assert values == ["0", "10", "20"]
    for _ in range(3):
        metrics.add_time("DecodeTime", 1.5, unit="ms")
    assert sum("DecodeTime" in line for line in told) == 3


def _deep() -> Any:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    return nested


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("answer", ["\ud83d", _deep()], ids=["surrogate", "deep"])
def test_answers_that_cannot_be_written_do_not_end_the_worker(reader: Any, answer: Any) -> None:
    stock = Path(ts.__file__).parent / "configs" / "metrics.yaml"
    metrics: Any = MetricsCacheYamlImpl(config_file_path=str(stock))
    metrics.initialize_cache()
    service = Service(
        "echo", ".", {}, lambda data, _: [answer] * len(data), None, 1, metrics_cache=metrics
    )
    service.cl_socket = None
    batch = [{"requestId": b"a", "headers": [], "parameters": []}]
    with pytest.raises((UnicodeEncodeError, RecursionError)):
        service.predict(batch)
    worker_patches.patch_worker()
    refused = reader.create_predict_response(None, {0: "a"}, "Prediction failed", 503)
    assert service.predict(batch) == refused


@pytest.mark.parametrize("answer", ["\ud83d", _deep()], ids=["surrogate", "deep"])
def test_nor_the_worker_without_torchserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    (tmp_path / "echoing.py").write_text(
        "ANSWER = None\ndef handle(data, context):\n    return data and [ANSWER]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(importlib.import_module("echoing"), "ANSWER", answer)
    load = LoadRequest("echo", str(tmp_path), 1, "echoing.py", None, limit_pixels=False)
    metrics = str(Path(ts.__file__).parent / "configs" / "metrics.yaml")
    said = light_service.Service(load, metrics, None).predict([InferenceRequest("a", {}, {})])
    assert said == failed({0: "a"}, "Prediction failed", 503)
