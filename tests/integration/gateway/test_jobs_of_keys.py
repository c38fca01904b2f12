"""Whose jobs they are, how many, and how long they are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.integration.gateway.jobs import ASYNC, PREDICT, Gateway, a_gateway, work_project
from tests.integration.kit import wait_for

FILES = ".marsmith/gateway/jobs/files"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With three keys, one of them for another model alone."""
    jobs = "ttl = 6\nquota = 3\nlease = 2\naddress_ttl = 3\n"
    kit = work_project(tmp_path_factory.mktemp("keys"), jobs)
    with a_gateway(kit) as running:
        yield running


def with_key(gateway: Gateway, name: str, scope: str = "predict") -> Gateway:
    token = gateway.kit("gateway", "key", "add", name, "--scope", scope).stdout.strip()
    return replace(gateway, token=token)


def code(gateway: Gateway, method: str, path: str) -> tuple[int, str]:
    said = gateway.ask(method, path)
    return said.status, said.json().get("code", "") if said.body else ""


def test_a_job_belongs_to_its_key(gateway: Gateway) -> None:
    one, other = with_key(gateway, "one"), with_key(gateway, "other")
    path = one.submit(say="mine")
    assert one.ended(path)["state"] == "succeeded"
    for stranger in (other, gateway):
        assert code(stranger, "GET", path) == (404, "job-unknown")
        assert code(stranger, "GET", f"{path}/answer") == (404, "job-unknown")
        assert code(stranger, "DELETE", path) == (404, "job-unknown")
    same = f"{path}?model=work"  # another key may use the same id
    assert other.ask("PUT", same, b'{"say": "theirs"}').status == 202
    assert other.ended(path)["state"] == "succeeded"
    answers = [them.ask("GET", f"{path}/answer").text for them in (one, other)]
    assert answers == ["mine", "theirs"]


def test_a_key_sends_jobs_only_where_it_may_ask(gateway: Gateway) -> None:
    narrow = with_key(gateway, "narrow", "predict:other")
    said = narrow.ask("POST", PREDICT, b"{}", ASYNC)
    assert (said.status, said.json()["code"]) == (403, "key-scope")
    feedback = with_key(gateway, "feedback", "feedback")
    assert code(feedback, "POST", "/uploads") == (403, "key-scope")


def test_a_revoked_key_has_no_more_jobs_answered(gateway: Gateway) -> None:
    gone, watcher = with_key(gateway, "gone"), with_key(gateway, "watcher")
    blocking = [watcher.submit(sleep=1) for _ in range(2)]  # both workers
    path = gone.submit(say="x", sleep=3)
    gateway.kit("gateway", "key", "revoke", "gone")
    wait_for(lambda: gone.ask("GET", path).status == 401, "the key to be unknown", 5)
    assert [watcher.ended(one)["state"] for one in blocking] == ["succeeded"] * 2


def test_jobs_and_uploads_count_against_a_quota(gateway: Gateway) -> None:
    key = with_key(gateway, "counted")
    paths = [key.submit(say="x") for _ in range(3)]
    said = key.ask("POST", PREDICT, b"{}", ASYNC)
    assert (said.status, said.json()["code"]) == (429, "job-quota")
    assert 1 <= int(said.headers["retry-after"]) <= 6
    assert code(key, "POST", "/uploads") == (429, "job-quota")
    key.ended(paths[0])
    assert key.ask("DELETE", paths[0]).status == 204
    key.submit(say="x")


def test_addresses_count_as_soon_as_they_are_given(gateway: Gateway) -> None:
    key = with_key(gateway, "many")
    with ThreadPoolExecutor(8) as pool:
        given = [*pool.map(lambda _: key.ask("POST", "/uploads"), range(8))]
    assert sorted(one.status for one in given) == [201] * 3 + [429] * 5
    url = next(one.json()["url"] for one in given if one.status == 201)
    gateway.kit("gateway", "key", "revoke", "many")
    time.sleep(0.6)
    path = url.partition(str(gateway.port))[2]
    assert code(gateway, "PUT", path) == (401, "key-unknown")


def test_a_key_has_no_more_jobs_answered_at_once_than_requests(gateway: Gateway) -> None:
    words = ("gateway", "key", "add", "narrow-one", "--scope", "predict", "--concurrent", "1")
    key = replace(gateway, token=gateway.kit(*words).stdout.strip())
    paths = [key.submit(sleep=1) for _ in range(2)]
    jobs = [key.ended(path) for path in paths]
    assert abs(jobs[0]["ended"] - jobs[1]["ended"]) > 0.9


def test_a_job_expires_with_its_files(gateway: Gateway) -> None:
    path = gateway.submit(say="old")
    url = gateway.ended(path)["answer"]["url"]
    assert f"/jobs/{path[6:]}/answer" in url
    folder = gateway.kit.root / FILES / "-" / path[6:]
    assert folder.is_dir()
    wait_for(lambda: code(gateway, "GET", path) == (404, "job-unknown"), "it to expire", 10)
    wait_for(lambda: not folder.exists(), "its files to go", 10)


def test_a_signed_address_expires(gateway: Gateway) -> None:
    url = json.loads(gateway.ask("POST", "/uploads").body)["url"]
    path = url.partition(str(gateway.port))[2]
    wait_for(lambda: code(gateway, "PUT", path) == (410, "address-expired"), "it to expire", 10)


def test_where_keys_are_needed_a_signed_address_needs_none(gateway: Gateway) -> None:
    token = gateway.kit("gateway", "key", "add", "signer", "--scope", "predict").stdout.strip()
    with a_gateway(gateway.kit, "--secure", token=token) as secure:
        nobody = replace(secure, token="")
        upload = secure.ask("POST", "/uploads").json()
        assert nobody.ask("PUT", upload["url"].partition(str(secure.port))[2], b"{}").status == 201
        said = secure.ask("POST", f"{PREDICT}?upload={upload['id']}", b"", ASYNC)
        job = secure.ended(said.headers["location"])
        path = job["answer"]["url"].partition(str(secure.port))[2]
        assert nobody.ask("GET", path).body == b"nothing"
        for method, place in (
            ("GET", f"/jobs/{job['id']}"),
            ("GET", f"/jobs/{job['id']}/answer"),
            ("DELETE", f"/jobs/{job['id']}"),
            ("POST", "/uploads"),
        ):
            assert code(nobody, method, place) == (401, "key-missing")
        assert code(nobody, "PUT", "/uploads/x") == (403, "address-forged")
