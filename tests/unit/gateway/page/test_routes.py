"""The page's routes over real sockets: who gets what, with a key and without."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from marsmith.archive.reader import Archive
from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Limits, new_key, parse_scope
from marsmith.gateway.access.rules import AccessRules
from tests.unit.gateway.door import Door, a_door
from tests.unit.gateway.kserve.archives import archive

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
STATIC = ["/docs", "/page/page.js", "/page/style.css", "/page/swagger-ui-bundle.js"]


@pytest.fixture
def door() -> Iterator[Door]:
    with a_door() as door:
        yield door


def served(door: Door, made: Archive) -> None:
    """Let both models of a door be of an archive."""
    door.backend.archive = lambda *_: made  # type: ignore[method-assign]


def test_browsers_get_the_page_and_programs_what_there_is(door: Door) -> None:
    page, told = door.ask("GET", "/", BROWSER), door.ask("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert b"<main>" in page.body
    assert json.loads(told.body)["models"] == ["/models/echo/predict", "/models/other/predict"]
    assert page.headers["vary"] == told.headers["vary"] == "accept"


@pytest.mark.parametrize(
    "accept", ["application/json, text/html;q=0.1", "text/html;q=0", "*/*", "text/htmlx"]
)
def test_who_prefers_json_gets_it(door: Door, accept: str) -> None:
    said = door.ask("GET", "/", {"Accept": accept})
    assert said.headers["content-type"] == "application/json"


def test_first_readers_at_once_all_get_the_samples(door: Door, tmp_path: Path) -> None:
    served(door, archive(tmp_path, b"\xff\xd8\xff", b'{"label": "7"}'))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: door.ask("GET", "/page/models"), range(4)))
    told = [json.loads(one.body)["models"] for one in answers]
    assert all(len(model["samples"]) == 1 for models in told for model in models)


def test_what_archives_toml_says_comes_first_at_the_root() -> None:
    with a_door(table={"root": {"error": "use POST /prediction"}}) as door:
        told = json.loads(door.ask("GET", "/").body)
        assert next(iter(told)) == "error"
        assert told["models"] == ["/models/echo/predict", "/models/other/predict"]
        assert b"<main>" in door.ask("GET", "/", BROWSER).body


def test_other_ways_to_ask_at_the_root_stay_torchserves(door: Door) -> None:
    assert "paths" in json.loads(door.ask("OPTIONS", "/").body)
    assert door.ask("POST", "/", body=b"a").status == 405


@pytest.mark.parametrize("path", ["/", *STATIC])
def test_pages_run_no_script_but_the_gateways_files(door: Door, path: str) -> None:
    said = door.ask("GET", path, BROWSER)
    assert said.status == 200
    if said.headers["content-type"].startswith("text/html"):
        policy = said.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src" not in policy
        assert "unsafe-eval" not in policy
        assert b"<script>" not in said.body
        assert b"http" not in said.body.replace(b"http-equiv", b"")


@pytest.mark.parametrize("path", ["/page/../routes.py", "/page/nothing.js", "/page/", "/page/.."])
def test_only_files_of_the_page_are_served(door: Door, path: str) -> None:
    said = door.ask("GET", path)
    assert (said.status, said.code) == (404, "no-such-path")


def test_samples_are_served_as_what_they_are(door: Door, tmp_path: Path) -> None:
    served(door, archive(tmp_path, b"<html><script>", b'{"a": 1}'))
    request = door.ask("GET", "/models/echo/samples/0/request")
    answer = door.ask("GET", "/models/echo/samples/0/answer")
    assert (request.body, answer.body) == (b"<html><script>", b'{"a": 1}')
    assert request.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    for path in ("samples/1/request", "samples/0/body"):
        said = door.ask("GET", f"/models/echo/{path}")
        assert (said.status, said.code) == (404, "no-such-path")


def test_the_document_is_valid_and_of_the_archives(door: Door, tmp_path: Path) -> None:
    served(door, archive(tmp_path, b"\xff\xd8\xff", b'{"label": "7"}', ours=True))
    told = json.loads(door.ask("GET", "/openapi.json").body)
    validate(told)
    asking = told["paths"]["/models/echo/predict"]["post"]
    taken = asking["requestBody"]["content"]
    sample = {"summary": "Sample 0", "externalValue": "/models/echo/samples/0/request"}
    assert taken["image/jpeg"]["examples"] == {"sample 0": sample}
    assert {"image/png", "multipart/form-data", "application/json"} <= taken.keys()
    given = asking["responses"]["200"]["content"]["application/json"]
    assert given["schema"]["properties"] == {"label": {"type": "string"}}
    assert given["examples"]["sample 0"]["value"] == {"label": "7"}


def test_a_model_without_an_archive_here_is_in_the_document(door: Door) -> None:
    told = json.loads(door.ask("GET", "/openapi.json").body)
    validate(told)
    assert list(told["paths"]) == ["/models/echo/predict", "/models/other/predict"]


def test_where_keys_are_demanded_only_the_pages_files_come_without_one(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key, token = new_key("one", [parse_scope("predict:echo")], time.time(), 60.0, Limits())
    store.add(key)
    gate = Gate(AccessRules(needs_keys=True), KeyRing(store))
    with a_door(Guards(gate)) as door:
        for path in ["/", *STATIC]:
            assert door.ask("GET", path, BROWSER).status == 200
        assert json.loads(door.ask("GET", "/").body)["models"] == []
        for path in ("/page/models", "/openapi.json", "/models/echo/samples/0/request"):
            assert door.ask("GET", path).status == 401
        headers = {"Authorization": f"Bearer {token}"}
        told = json.loads(door.ask("GET", "/page/models", headers).body)
        assert [one["name"] for one in told["models"]] == ["echo"]
        assert door.ask("GET", "/models/other/samples/0/request", headers).status == 403
