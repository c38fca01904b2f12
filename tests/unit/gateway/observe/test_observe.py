"""What is counted, logged and traced of requests."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Limits, Scope, new_key
from marsmith.gateway.observe.access_log import AccessLog, line_of
from marsmith.gateway.observe.facts import Facts, head_of, new_request_id, trace_of
from marsmith.gateway.observe.observe import Observer
from marsmith.gateway.observe.spans import Spans
from marsmith.torchserve.metrics import Figures
from marsmith.torchserve.metrics_text import Scrape, parse_metrics
from tests.unit.gateway.door import Door, a_door

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def door(log: Path) -> Iterator[Door]:
    with a_door(Guards(observer=Observer(AccessLog(log)))) as running:
        yield running


def scrape(door: Door) -> Scrape:
    return parse_metrics(door.ask("GET", "/metrics").body.decode())


def count(found: Scrape, name: str, **labels: str) -> float | None:
    return found.total(name, lambda at: labels.items() <= at.items())


def test_counts_can_be_asked_for_by_name(door: Door) -> None:
    door.ask(body=b"x")
    names = "name[]=marsmith_gateway_requests_total&name[]=ts_inference_requests_total"
    text = door.ask("GET", f"/metrics?{names}").body.decode()
    found = {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
    assert found == {"marsmith_gateway_requests_total", "ts_inference_requests_total"}


def test_requests_are_counted_by_model_version_face_and_status(door: Door) -> None:
    door.ask(body=b"x")
    door.ask(path="/predictions/echo", body=b"x")
    door.ask(path="/predictions/echo/9/../x", body=b"x")
    found = scrape(door)
    name = "marsmith_gateway_requests_total"
    labels = {"model": "echo", "version": "1.0", "status": "200"}
    assert count(found, name, face="marsmith", **labels) == 1
    assert count(found, name, face="torchserve", **labels) == 2
    assert count(found, "marsmith_gateway_request_seconds_count", model="echo") == 3
    assert count(found, "marsmith_gateway_queue_seconds_sum", model="echo") == 0.75
    assert count(found, "marsmith_gateway_batch_size_sum", model="echo") == 6
    assert count(found, "marsmith_gateway_queue_length", model="other") == 3
    assert count(found, "marsmith_gateway_workers", model="echo", state="ready") == 1
    assert count(found, "marsmith_gateway_open_requests") == 1  # this one


def test_names_that_callers_make_up_are_no_labels(door: Door) -> None:
    for number in range(20):
        assert door.ask(path=f"/predictions/made-up-{number}/v{number}", body=b"x").status == 404
        door.ask("GET", f"/path-{number}")
    text = door.ask("GET", "/metrics").body.decode()
    assert "made-up" not in text
    assert "path-" not in text
    labels = {"model": "unknown", "version": "", "status": "404", "face": "torchserve"}
    assert count(parse_metrics(text), "marsmith_gateway_requests_total", **labels) == 20


def test_marsmith_top_reads_a_gateway_as_a_torchserve(door: Door) -> None:
    for _ in range(4):
        door.ask(body=b"x")
    door.ask("GET", "/nothing")
    figures = Figures(scrape(door), None, 2.0)
    model = figures.model("echo", "1.0", default=True)
    assert (model.requests, model.per_second, model.batch) == (4, 2, 2)
    assert model.queue_ms == pytest.approx(250)
    assert model.p50_ms is not None
    assert 250 <= model.p50_ms <= 500
    server = figures.server()
    assert (server.answered, server.refused) == (4, 1)


def test_a_request_is_a_line_of_the_log(door: Door, log: Path) -> None:
    said = door.ask(path="/models/echo/predict?token=secret", body=b"four")
    time.sleep(0.7)
    (line,) = [json.loads(one) for one in log.read_text().splitlines()]
    assert (
        line.items()
        >= {
            "request_id": said.headers["x-request-id"],
            "client": "127.0.0.1",
            "key": "",
            "method": "POST",
            "path": "/models/echo/predict",
            "face": "marsmith",
            "model": "echo",
            "version": "1.0",
            "status": 200,
            "bytes_in": 4,
            "bytes_out": 4,
            "ms_queued": 250.0,
            "ms_computed": 500.0,
            "batch": 2,
        }.items()
    )
    assert line["ms_total"] > 0
    assert log.stat().st_mode & 0o777 == 0o600


def test_no_log_has_a_secret(tmp_path: Path, log: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key, token = new_key("ci", [Scope("predict")], time.time(), None, Limits())
    store.add(key)
    guards = Guards(Gate(keys=KeyRing(store)), Observer(AccessLog(log)))
    with a_door(guards) as door:
        door.ask(headers={"Authorization": f"Bearer {token}", "Cookie": "c=se-cret"}, body=b"bo-dy")
        door.ask(path=f"/predictions/echo?key={token}", headers={"X-Api-Key": token + "x"})
        metrics = door.ask("GET", "/metrics").body.decode()
        time.sleep(0.7)
    written = log.read_text()
    assert f'"key": "{key.id}"' in written
    secret = token.removeprefix(f"mk_{key.id}_")
    for text in (written, metrics):
        assert secret not in text
        assert key.digest not in text
        assert "se-cret" not in text
        assert "bo-dy" not in text


@given(st.text(), st.text(), st.text())
def test_any_text_makes_one_line_of_json(path: str, model: str, client: str) -> None:
    facts = Facts("GET", path, "other", {}, trace_of(""))
    facts.model, facts.client = model, client
    line = line_of(facts, 0.1, 5.0)
    assert line.count("\n") == 1
    values = json.loads(line)
    assert (values["path"], values["model"], values["client"]) == (path, model, client)


def test_the_log_is_rotated_and_goes_through_no_link(tmp_path: Path) -> None:
    async def write() -> None:
        log = AccessLog(tmp_path / "log", largest=1000)
        for _ in range(13):
            log.note(Facts("GET", "/", "other", {}, trace_of("")), 0.0)
            log.note(Facts("GET", "/", "other", {}, trace_of("")), 0.0)
            log.flush()

    asyncio.run(write())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    (tmp_path / "log").unlink()
    (tmp_path / "target").write_text("kept")
    (tmp_path / "log").symlink_to(tmp_path / "target")
    asyncio.run(write())
    assert (tmp_path / "target").read_text() == "kept"


# ---- traces


def test_a_callers_trace_is_carried_to_the_worker(door: Door) -> None:
    door.ask(headers={"Traceparent": PARENT, "Tracestate": "a=b"}, body=b"x")
    sent = door.backend.calls[-1].request.headers
    version, trace, span, flags = sent["Traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != PARENT.split("-")[2]
    assert sent["Tracestate"] == "a=b"


BAD = ["x", PARENT.upper(), "ff" + PARENT[2:], PARENT + "-x", PARENT.replace(TRACE, "0" * 32)]


@pytest.mark.parametrize("given", [*BAD, PARENT.replace("b7ad6b7169203331", "0" * 16), ""])
def test_a_malformed_trace_begins_a_new_one(door: Door, given: str) -> None:
    door.ask(headers={"Traceparent": given, "Tracestate": "a=b"}, body=b"x")
    sent = door.backend.calls[-1].request.headers
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", sent["Traceparent"])
    assert TRACE not in sent["Traceparent"]
    assert "Tracestate" not in sent


def test_a_later_version_of_the_header_is_read_as_this_one() -> None:
    assert trace_of("01" + PARENT[2:] + "-more").id == TRACE


def test_faces_that_pass_on_no_headers_pass_on_the_trace(door: Door) -> None:
    body = json.dumps({"instances": [{"a": 1}]}).encode()
    door.ask(path="/v1/models/echo:predict", headers={"Traceparent": PARENT}, body=body)
    assert TRACE in door.backend.calls[-1].request.headers["Traceparent"]


def test_request_ids_are_uuids_and_differ() -> None:
    made = {new_request_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one) for one in made)


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"x-a"]), st.binary()), max_size=6))
def test_a_head_never_takes_a_later_value(headers: list[tuple[bytes, bytes]]) -> None:
    head = head_of(headers)
    for name in (b"host", b"origin"):
        values = [value for one, value in headers if one == name]
        assert head.get(name) == (values[0] if values else None)
    assert b"x-a" not in head


def test_spans_of_a_request_and_its_stages() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    spans = Spans(exporter)
    with a_door(Guards(observer=Observer(spans=spans))) as door:
        door.ask(headers={"Traceparent": PARENT}, body=b"x")
        door.ask("GET", "/nothing")
        sent = door.backend.calls[-1].request.headers["Traceparent"].split("-")
    spans.close()
    found: dict[str, Any] = {one.name: one for one in exporter.get_finished_spans()}
    whole = found["POST marsmith"]
    assert f"{whole.context.trace_id:032x}" == TRACE == sent[1]
    assert (f"{whole.context.span_id:016x}", f"{whole.parent.span_id:016x}") == (
        sent[2],
        PARENT.split("-")[2],
    )
    assert whole.attributes["marsmith.model"] == "echo"
    assert whole.attributes["http.response.status_code"] == 200
    for name, seconds in (("queue", 0.25), ("compute", 0.5)):
        assert found[name].parent.span_id == whole.context.span_id
        took = (found[name].end_time - found[name].start_time) / 1e9
        assert took == pytest.approx(seconds, abs=1e-6)
    assert found["GET other"].attributes["http.response.status_code"] == 404
