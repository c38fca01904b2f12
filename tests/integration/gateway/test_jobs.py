"""Jobs and uploads of a real gateway, in a folder and SQLite."""

from __future__ import annotations

import base64
import hmac
import json
import resource
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.gateway.jobs import (
    ASYNC,
    PREDICT,
    Gateway,
    Receiver,
    a_gateway,
    a_receiver,
    curl,
    work_project,
)
from tests.integration.kit import Kit, wait_for

FILES = Path(".marsmith") / "gateway" / "jobs"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with a_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Kit:
    hosts = f'private_webhook_hosts = ["127.0.0.1:{receiver.port}"]\n'
    more = "lease = 2\nwebhook_pauses = [0.1, 0.2]\nmax_upload = 20000000\nwebhook_hosts = ["
    return work_project(
        tmp_path_factory.mktemp("jobs"), hosts + more + '"localhost", "example.org"]\n'
    )


@pytest.fixture(scope="module")
def gateway(kit: Kit) -> Iterator[Gateway]:
    with a_gateway(kit) as running:
        yield running


def code(said: object) -> str:
    return str(getattr(said, "json")()["code"])  # noqa: B009


def test_a_request_that_prefers_not_to_wait_becomes_a_job(gateway: Gateway) -> None:
    body = json.dumps({"say": "hello"}).encode()
    said = gateway.ask("POST", PREDICT, body, {"Prefer": "wait=5, respond-async"})
    assert (said.status, said.headers["preference-applied"]) == (202, "respond-async")
    path = said.headers["location"]
    job = gateway.ended(path)
    assert job["id"] == path.removeprefix("/jobs/")
    assert (job["state"], job["model"], job["version"]) == ("succeeded", "work", "1.0")
    assert (job["answer"]["status"], job["answer"]["bytes"]) == (200, 5)
    answer = gateway.ask("GET", f"{path}/answer")
    assert (answer.status, answer.content_type, answer.body) == (200, "text/plain", b"hello")


@pytest.mark.parametrize("prefer", ["return=minimal", "respond-asynchronously", "wait=5"])
def test_without_that_preference_the_answer_comes_at_once(gateway: Gateway, prefer: str) -> None:
    said = gateway.ask("POST", PREDICT, b'{"say": "now"}', {"Prefer": prefer})
    assert (said.status, said.body) == (200, b"now")


def test_a_version_can_be_named(gateway: Gateway) -> None:
    path = "/models/work/versions/1.0/predict"
    said = gateway.ask("PUT", path, b'{"say": "one"}', ASYNC)
    assert gateway.ended(said.headers["location"])["state"] == "succeeded"
    said = gateway.ask("POST", "/models/work/versions/9/predict", b"{}", ASYNC)
    assert (said.status, code(said)) == (404, "version-unknown")


def test_the_answer_is_fetched_from_a_signed_address(gateway: Gateway) -> None:
    url = gateway.ended(gateway.submit(say="signed"))["answer"]["url"]
    assert curl(url).stdout == b"signed"
    assert json.loads(curl(f"{url}0").stdout)["code"] == "address-forged"
    later = url.replace("expires=", "expires=9")
    assert json.loads(curl(later).stdout)["code"] == "address-forged"


def test_a_failed_job_has_the_answer_of_the_predict_route(gateway: Gateway) -> None:
    path = gateway.submit(**{"raise": "no"})
    job = gateway.ended(path)
    assert (job["state"], job["error"]["code"]) == ("failed", "handler-failed")
    answer = gateway.ask("GET", f"{path}/answer")
    assert (answer.status, code(answer)) == (500, "handler-failed")


def test_states_come_as_events(gateway: Gateway) -> None:
    path = gateway.submit(say="told", sleep=1)
    said = gateway.ask("GET", path, headers={"Accept": "text/event-stream"})
    assert said.content_type == "text/event-stream"
    events = [dict(_fields(one)) for one in said.text.strip().split("\n\n")]
    assert [one["event"] for one in events][-2:] == ["running", "succeeded"]
    assert json.loads(events[-1]["data"])["state"] == "succeeded"


def _fields(event: str) -> Iterator[tuple[str, str]]:
    for line in event.split("\n"):
        name, _, value = line.partition(": ")
        yield name, value


def test_the_same_request_with_the_same_id_is_one_job(gateway: Gateway, tmp_path: Path) -> None:
    note = tmp_path / "note"
    body = json.dumps({"note": str(note), "sleep": 0.5, "say": "once"}).encode()
    path = "/jobs/order-1?model=work"
    first, second = gateway.ask("PUT", path, body), gateway.ask("PUT", path, body)
    assert (first.status, second.status) == (202, 202)
    assert gateway.ended("/jobs/order-1")["state"] == "succeeded"
    third = gateway.ask("PUT", path, body)
    assert (third.json()["state"], third.json()["created"]) == (
        "succeeded",
        first.json()["created"],
    )
    assert note.read_text() == "begun\n"
    other = gateway.ask("PUT", path, body + b" ")
    assert (other.status, code(other)) == (409, "job-differs")


def test_a_form_with_another_boundary_is_the_same_request(gateway: Gateway) -> None:
    def sent(boundary: str, value: str, accept: str = "*/*") -> int:
        head = 'Content-Disposition: form-data; name="body"\r\n\r\n'
        body = f"--{boundary}\r\n{head}{value}\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": accept}
        return gateway.ask("PUT", "/jobs/form-1?model=work", body, headers).status

    assert (sent("a", "{}"), sent("b", "{}")) == (202, 202)
    assert (sent("a", '{"x": 1}'), sent("a", "{}", "text/html")) == (409, 409)


def test_a_job_deleted_while_it_is_watched_ends_the_events(gateway: Gateway) -> None:
    path = gateway.submit(sleep=9)
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(gateway.ask, "GET", path, b"", {"Accept": "text/event-stream"})
        time.sleep(1)
        assert [gateway.ask("DELETE", path).status for _ in range(2)] == [200, 204]
        assert watched.result(10).text.split("event: ")[-1].startswith(("gone\n", "cancelled\n"))


def test_a_webhook_is_sent_before_its_job_can_go(gateway: Gateway, receiver: Receiver) -> None:
    receiver.got.clear()
    path = f"/jobs/hook-1?model=work&webhook={receiver.url}"
    for _ in range(2):  # the same id again is another message
        assert gateway.ask("PUT", path, b'{"sleep": 5}').status == 202
        assert gateway.ask("DELETE", "/jobs/hook-1").status == 200
        wait_for(lambda: gateway.ask("DELETE", "/jobs/hook-1").status == 204, "it to go", 10)

    def ids() -> set[str]:
        return {headers["webhook-id"] for headers, _ in receiver.got}

    wait_for(lambda: len(ids()) == 2, "both webhooks", 10)
    assert {json.loads(body)["state"] for _, body in receiver.got} == {"cancelled"}


def test_what_only_jobs_have_needs_the_preference(gateway: Gateway) -> None:
    said = gateway.ask("POST", f"{PREDICT}?upload=x", b"{}")
    assert (said.status, code(said)) == (400, "job-prefer")
    said = gateway.ask("POST", f"{PREDICT}?upload=x", b"{}", ASYNC)
    assert (said.status, code(said)) == (400, "upload-and-body")


def test_jobs_and_uploads_are_listed(gateway: Gateway) -> None:
    job, upload = gateway.submit(say="x")[6:], gateway.ask("POST", "/uploads").json()
    listed = gateway.ask("GET", "/jobs").json()
    assert job in listed["jobs"]
    assert upload["id"] in listed["uploads"]
    path = f"/uploads/{upload['id']}"
    assert gateway.ask("DELETE", path).status == 204
    assert code(gateway.ask("DELETE", path)) == "upload-unknown"
    assert curl("-f", "-T", __file__, upload["url"]).returncode == 22
    assert upload["id"] not in gateway.ask("GET", "/jobs").json()["uploads"]


def test_a_deleted_job_is_cancelled_and_then_gone(gateway: Gateway) -> None:
    path = gateway.submit(sleep=5)
    wait_for(lambda: gateway.job(path)["state"] == "running", "it to run")
    early = gateway.ask("GET", f"{path}/answer")
    assert (early.status, code(early), early.headers["retry-after"]) == (409, "job-open", "1")
    said = gateway.ask("DELETE", path)
    assert (said.status, said.json()["state"]) == (200, "cancelled")
    answer = gateway.ask("GET", f"{path}/answer")
    assert (answer.status, code(answer)) == (410, "job-cancelled")
    assert gateway.ask("DELETE", path).status == 204
    assert code(gateway.ask("GET", path)) == "job-unknown"
    assert not list((gateway.kit.root / FILES).rglob(path.removeprefix("/jobs/")))


def test_a_webhook_is_signed(gateway: Gateway, receiver: Receiver) -> None:
    receiver.got.clear()
    path = gateway.submit(f"?webhook={receiver.url}", say="hook")
    wait_for(lambda: bool(receiver.got), "the webhook", 10)
    headers, body = receiver.got[0]
    secret = (gateway.kit.root / FILES / "webhook-secret").read_text().strip()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    wanted = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    told = json.loads(body)
    assert (told["id"], told["state"]) == (path.removeprefix("/jobs/"), "succeeded")
    assert curl(told["answer"]["url"]).stdout == b"hook"


def test_a_webhook_is_tried_again_and_no_redirect_followed(
    gateway: Gateway, receiver: Receiver
) -> None:
    receiver.got.clear()
    receiver.statuses += [302, 500]
    gateway.submit(f"?webhook={receiver.url}", say="again")
    wait_for(lambda: len(receiver.got) == 3, "three tries", 10)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    time.sleep(1)
    assert len(receiver.got) == 3


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://example.org/hook",
        "https://example.org@evil.example/hook",
        "https://user@example.org/",
        "ftp://example.org/",
        "http://127.0.0.1:1/",
        "https://[::1/",
    ],
)
def test_webhooks_go_to_allowed_hosts_alone(gateway: Gateway, url: str) -> None:
    said = gateway.ask("POST", f"{PREDICT}?webhook={url}", b"{}", ASYNC)
    assert (said.status, code(said)) == (403, "webhook-refused")


def test_an_allowed_name_that_leads_to_a_private_address_gets_nothing(
    gateway: Gateway, receiver: Receiver
) -> None:
    receiver.got.clear()
    gateway.submit("?webhook=https://localhost/", say="x")
    log = gateway.kit.root / ".marsmith" / "servers" / str(gateway.port)
    wait_for(
        lambda: any(b"try 3: GatewayError" in one.read_bytes() for one in log.glob("*.log")),
        "three tries",
        10,
    )
    assert receiver.got == []


def test_a_large_input_is_uploaded_first(gateway: Gateway, tmp_path: Path) -> None:
    body = tmp_path / "large.json"
    body.write_text(json.dumps({"say": "large", "more": "x" * 8_000_000}))
    assert sent(body, f"http://127.0.0.1:{gateway.port}{PREDICT}") == "413"
    made = gateway.ask("POST", "/uploads")
    assert (made.status, made.json()["method"]) == (201, "PUT")
    assert sent(body, made.json()["url"]) == "201"
    assert sent(body, made.json()["url"]) == "409"
    said = gateway.ask("POST", f"{PREDICT}?upload={made.json()['id']}", b"", ASYNC)
    assert gateway.ended(said.headers["location"])["state"] == "succeeded"
    assert gateway.ask("GET", f"{said.headers['location']}/answer").body == b"large"


def sent(path: Path, url: str) -> str:
    """Return the status that curl gets for a file."""
    return curl("-o", "/dev/null", "-w", "%{http_code}", "-T", str(path), url).stdout.decode()


def test_an_upload_needs_its_signed_address(gateway: Gateway, tmp_path: Path) -> None:
    url = gateway.ask("POST", "/uploads").json()["url"]
    target, large = urlsplit(url), tmp_path / "large"
    for path in (target.path, f"{target.path}0?{target.query}", f"{target.path}?{target.query}0"):
        said = gateway.ask("PUT", path, b"x")
        assert (said.status, code(said)) == (403, "address-forged")
    large.write_bytes(bytes(20_000_001))
    assert sent(large, url) == "413"
    said = gateway.ask("POST", f"{PREDICT}?upload=none", b"", ASYNC)
    assert (said.status, code(said)) == (404, "upload-unknown")


@pytest.mark.parametrize(
    ("method", "path", "status", "wanted"),
    [
        ("GET", "/jobs/none", 404, "job-unknown"),
        ("GET", "/jobs/%2e%2e", 404, "job-unknown"),
        ("DELETE", "/jobs/none", 404, "job-unknown"),
        ("GET", "/jobs/none/answer", 404, "job-unknown"),
        ("PUT", "/jobs/none", 400, "job-model"),
        ("PUT", "/jobs/a.b?model=work", 400, "job-id"),
        ("PUT", "/jobs/none?model=other", 404, "model-unknown"),
        ("GET", "/uploads", 405, "no-such-path"),
    ],
)
def test_bad_requests(gateway: Gateway, method: str, path: str, status: int, wanted: str) -> None:
    said = gateway.ask(method, path)
    assert (said.status, code(said)) == (status, wanted)


def test_a_full_disk_leaves_nothing_half_written(gateway: Gateway) -> None:
    """The limit of a file's size stands for it: it fails in the same calls."""
    _, web = gateway.pids
    before = sorted((gateway.kit.root / FILES / "files").rglob("*"))
    limit = resource.prlimit(web, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        said = gateway.ask("PUT", "/jobs/full?model=work", json.dumps({"x": "y" * 9999}).encode())
    finally:
        resource.prlimit(web, resource.RLIMIT_FSIZE, limit)
    assert (said.status, code(said)) == (507, "job-storage-full")
    assert sorted((gateway.kit.root / FILES / "files").rglob("*")) == before
    assert code(gateway.ask("GET", "/jobs/full")) == "job-unknown"


def test_jobs_are_counted_by_state(gateway: Gateway) -> None:
    gateway.ended(gateway.submit(say="counted"))
    page = gateway.ask("GET", "/metrics").text
    assert 'marsmith_gateway_jobs_ended_total{state="succeeded"}' in page
    assert 'marsmith_gateway_jobs{state="running"} 0.0' in page


@pytest.mark.parametrize("whole", [False, True], ids=["web process", "gateway"])
def test_a_job_outlives_a_killed(
    gateway: Gateway, receiver: Receiver, tmp_path: Path, whole: bool
) -> None:
    receiver.got.clear()
    notes = [tmp_path / str(number) for number in range(4)]
    query = f"?webhook={receiver.url}"
    paths = [gateway.submit(query, note=str(one), sleep=1, say=one.name) for one in notes]
    wait_for(notes[0].exists, "the first one to begin")
    gateway.kill(whole=whole)
    if whole:
        gateway.start()
    wait_for(lambda: curl(f"http://127.0.0.1:{gateway.port}/ping").returncode == 0, "it to be back")
    assert [gateway.ended(one)["state"] for one in paths] == ["succeeded"] * 4
    said = [gateway.ask("GET", f"{one}/answer").text for one in paths]
    assert said == ["0", "1", "2", "3"]
    ids = {one[6:] for one in paths}
    wait_for(lambda: ids <= _told(receiver), "all webhooks", 10)
    folders = [gateway.kit.root / FILES / "files" / "-" / one[6:] for one in paths]
    assert [len([*one.glob("outcome")]) for one in folders] == [1] * 4


def test_a_job_that_ends_the_gateway_again_and_again_fails(gateway: Gateway) -> None:
    path = gateway.submit(sleep=2)
    wait_for(lambda: gateway.job(path)["state"] == "running", "it to run")
    gateway.kill(whole=True)
    with closing(sqlite3.connect(gateway.kit.root / FILES / "queue.db")) as queue, queue:
        queue.execute("UPDATE messages SET tries = 10")
    gateway.start()
    job = gateway.ended(path)
    assert (job["state"], job["error"]["code"]) == ("failed", "job-tries")


def test_what_is_stored_is_the_owners_alone(gateway: Gateway) -> None:
    assert (gateway.kit.root / FILES).stat().st_mode & 0o777 == 0o700
    assert (gateway.kit.root / FILES / "queue.db").stat().st_mode & 0o777 == 0o600


def _told(receiver: Receiver) -> set[str]:
    return {json.loads(body)["id"] for _, body in receiver.got}
