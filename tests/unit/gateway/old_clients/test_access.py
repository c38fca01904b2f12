"""Keys, limits and pages of other sites at routes for existing clients, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.grpc_access import GrpcAccess
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Limits, new_key, parse_scope
from marsmith.gateway.access.rules import AccessRules
from marsmith.gateway.grpc_server import start_grpc
from marsmith.torchserve.ports import free_ports
from tests.unit.gateway.door import HTTP, Door, EchoBackend, a_door
from tests.unit.gateway.old_clients.rotation_client import RotationClient

CODE = grpc.StatusCode
ORIGIN = "https://app.example.org"
ROUTE = {"model": "echo", "failure": {"status": 500, "body": "Internal Server Error"}}
TABLE = {"routes": {"/old": ROUTE}, "redirects": {"/swagger/": "/docs"}}
RULES = AccessRules(
    needs_keys=True,
    origins=frozenset({ORIGIN}),
    routes=frozenset({"/old"}),
    redirects=frozenset({"/swagger/"}),
)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.json")


@pytest.fixture
def token(store: KeyStore) -> Callable[..., str]:
    """Return a function that makes a key."""

    def make(name: str, scope: str, limits: Limits | None = None) -> str:
        key, made = new_key(name, [parse_scope(scope)], time.time(), None, limits or Limits())
        store.add(key)
        return made

    return make


@pytest.fixture
def door(store: KeyStore) -> Iterator[Door]:
    with a_door(Guards(Gate(RULES, KeyRing(store))), table=TABLE) as door:
        yield door


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_route_needs_a_key_for_its_model(door: Door, token: Callable[..., str]) -> None:
    without = door.ask("POST", "/old", {}, b"x")
    assert (without.status, without.code) == (401, "key-missing")
    other = door.ask("POST", "/old", bearer(token("b", "predict:other")), b"x")
    assert (other.status, other.code) == (403, "key-scope")
    right = door.ask("POST", "/old", bearer(token("a", "predict:echo")), b"x")
    assert (right.status, right.body) == (200, b"x")


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"x:{password}".encode()).decode()}


def test_a_key_may_be_sent_as_a_password(door: Door, token: Callable[..., str]) -> None:
    right = door.ask("POST", "/old", basic(token("a", "predict:echo")), b"x")
    assert (right.status, right.body) == (200, b"x")
    for headers in (basic("wrong"), {"Authorization": "Basic %"}, {"Authorization": "Basic"}):
        wrong = door.ask("POST", "/old", headers, b"x")
        assert (wrong.status, wrong.code) == (401, "key-unknown")


def test_a_redirect_leads_on_without_a_key(door: Door) -> None:
    answer = door.ask("GET", "/swagger/")
    assert (answer.status, answer.headers["location"]) == (307, "/docs")
    assert door.ask("POST", "/swagger/", {}, b"x").code == "key-missing"


def test_a_route_counts_against_the_limits_of_a_key(door: Door, token: Callable[..., str]) -> None:
    key = token("a", "predict", Limits(rate=1.0))
    answers = [door.ask("POST", "/old", bearer(key), b"x") for _ in range(2)]
    assert [one.status for one in answers] == [200, 429]
    assert answers[1].headers["retry-after"] == "1"


def test_pages_of_a_named_site_ask_a_route_as_any_model(
    store: KeyStore,
) -> None:
    rules = AccessRules(origins=frozenset({ORIGIN}), routes=frozenset({"/old"}))
    table = {"routes": {"/old": ROUTE, "/other": ROUTE}}
    with a_door(Guards(Gate(rules, KeyRing(store))), table=table) as door:
        said = door.ask("POST", "/old", {"Origin": ORIGIN}, b"x")
        assert (said.status, said.headers["access-control-allow-origin"]) == (200, ORIGIN.lower())
        asks = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        assert door.ask("OPTIONS", "/old", asks).status == 200
        evil = door.ask("POST", "/old", {"Origin": "https://evil.example"}, b"x")
        assert (evil.status, evil.code) == (403, "origin-refused")


def codes(
    store: KeyStore, asking: Callable[[str], list[Any]], rules: AccessRules = RULES
) -> list[Any]:
    """Return what a client in another thread gets of a server; by default all need keys."""

    async def served() -> list[Any]:
        guards = Guards(Gate(rules, KeyRing(store)))
        address, interceptor = f"127.0.0.1:{free_ports(1)}", GrpcAccess(guards)
        front = guards.admitted(EchoBackend())
        (server,) = await start_grpc({"gateway": address}, front, HTTP, interceptor, "echo")
        try:
            return await asyncio.to_thread(asking, address)
        finally:
            await server.stop(None)

    return asyncio.run(served())


def test_login_takes_a_key_where_all_other_calls_need_one(
    store: KeyStore, token: Callable[..., str]
) -> None:
    key = token("a@example.org", "predict:echo")

    def asking(address: str) -> list[Any]:
        client, known = RotationClient(address), RotationClient(address, key)
        return [
            client.code("User", "Login", email="a@example.org", password=key),
            client.code("User", "Login", email="b@example.org", password=key),
            client.code("User", "Authenticate"),
            known.code("User", "Authenticate"),
            known.code("ModelVersion", "GetUsingModelVersion"),
        ]

    no = CODE.UNAUTHENTICATED
    assert codes(store, asking) == [CODE.OK, no, no, CODE.OK, CODE.OK]


@pytest.mark.parametrize("rules", [RULES, AccessRules()])
def test_a_wrong_access_token_is_unknown_and_none_is_missing(
    store: KeyStore, rules: AccessRules
) -> None:
    def asking(address: str) -> list[Any]:
        found = []
        for token in ("", "wrong"):
            with pytest.raises(grpc.RpcError) as refused:
                RotationClient(address, token).call("User", "Authenticate")
            found.append("access_token" in refused.value.details())
        return found

    assert codes(store, asking, rules) == [True, False]


def test_an_answer_that_is_no_rotation_is_told(store: KeyStore, token: Callable[..., str]) -> None:
    key = token("a", "predict")

    def asking(address: str) -> list[Any]:
        echoed = json.dumps({"model_degree": 90}).encode()
        infer = ("InferenceImage", "Inference")
        return [RotationClient(address, key).code(*infer, image_content=echoed)]

    assert codes(store, asking) == [CODE.INTERNAL]
