"""Who is let in over HTTP, and what answers tell browsers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Limits, new_key, parse_scope
from marsmith.gateway.access.let_in import Access
from marsmith.gateway.access.rules import AccessRules, access_rules
from marsmith.gateway.observe.observe import Observe, Observer
from tests.unit.gateway.door import HTTP, Door, Said, a_door

PREDICT = "/models/echo/predict"
MakeDoor = Callable[..., Door]


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.json")


@pytest.fixture
def token(store: KeyStore) -> Callable[..., str]:
    """Return a function that makes a key with these scopes."""

    def make(*scopes: str, limits: Limits | None = None, lifetime: float | None = 60.0) -> str:
        name = f"key{len(store.read())}"
        key, made = new_key(
            name, map(parse_scope, scopes), time.time(), lifetime, limits or Limits()
        )
        store.add(key)
        return made

    return make


def rules(**options: Any) -> AccessRules:
    given = {"allow_hosts": (), "cors_origins": (), "behind_proxy": ()} | options
    needs_keys = given.pop("needs_keys", False)
    properties = HTTP | given.pop("properties", {})
    return access_rules(["127.0.0.1"], given, properties, needs_keys=needs_keys)


@pytest.fixture
def door(store: KeyStore) -> Iterator[MakeDoor]:
    """Return a function that serves with rules."""
    running = []

    def serve(**options: Any) -> Door:
        context = a_door(Guards(Gate(rules(**options), KeyRing(store))))
        running.append(context)
        return context.__enter__()

    yield serve
    for one in running:
        one.__exit__(None, None, None)


def test_this_machine_needs_no_key(door: MakeDoor) -> None:
    open_ = door()
    assert open_.ask(body=b"x").status == 200
    assert open_.ask("PUT", "/models/echo?min_worker=1").status == 202
    # as TorchServe, which asks for none either
    assert open_.ask(headers={"Authorization": "Bearer of-torchserve"}, body=b"x").status == 200


def test_a_key_that_was_sent_is_checked_here_too(
    door: MakeDoor, token: Callable[..., str], store: KeyStore
) -> None:
    made = token("predict:other")
    open_ = door()
    sent = {"Authorization": f"Bearer {made}"}
    assert open_.ask(headers=sent, body=b"x").code == "key-scope"
    assert open_.ask(path="/models/other/predict", headers=sent, body=b"x").status == 200
    store.revoke("key0")
    time.sleep(0.6)
    assert open_.ask(path="/models/other/predict", headers=sent).code == "key-unknown"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "mk_0123456789ab_" + "a" * 43},
        {"X-Api-Key": "mk_0123456789ab_" + "a" * 43},
        {"X-Api-Key": ""},
        {"Cookie": "authorization=Bearer x"},
    ],
)
def test_without_a_good_key_nobody_is_let_in(door: MakeDoor, sent: dict[str, str]) -> None:
    closed = door(needs_keys=True)
    for method, path in [
        ("POST", PREDICT),
        ("POST", "/predictions/echo"),
        ("POST", "/v1/models/echo:predict"),
        ("POST", "/v2/models/echo/infer"),
        ("GET", "/models"),
        ("POST", "/models?url=a.mar"),
        ("DELETE", "/models/echo"),
        ("GET", "/v2"),
        ("GET", "/nothing"),
        ("OPTIONS", "/"),
    ]:
        said = closed.ask(method, path, sent)
        assert (said.status, said.headers["www-authenticate"]) == (401, 'bearer realm="marsmith"')
    assert closed.backend.calls == []
    assert closed.backend.done == []


def test_each_face_says_no_in_its_own_form(door: MakeDoor) -> None:
    closed = door(needs_keys=True)
    assert closed.ask(path=PREDICT).code == "key-missing"
    assert json.loads(closed.ask(path="/predictions/echo").body)["code"] == 401
    assert set(json.loads(closed.ask("GET", "/models").body)) == {"code", "type", "message"}
    assert "error" in json.loads(closed.ask(path="/v2/models/echo/infer").body)
    assert "error" in json.loads(closed.ask(path="/v1/models/echo:predict").body)


@pytest.mark.parametrize(
    "header", ["Authorization: Bearer {}", "authorization: bearer {}", "X-API-Key: {}"]
)
def test_a_key_may_be_sent_in_either_header(
    door: MakeDoor, token: Callable[..., str], header: str
) -> None:
    name, _, value = header.format(token("predict")).partition(": ")
    closed = door(needs_keys=True)
    assert closed.ask(headers={name: value}, body=b"x").status == 200
    # and the handler does not get it
    sent = {one.lower() for one in closed.backend.calls[-1].request.headers}
    assert sent & {"authorization", "x-api-key"} == set()


ASKED = {
    "predict": ("POST", "/predictions/echo", 200),
    "predict other": ("POST", "/predictions/other", 200),
    "list": ("GET", "/models", 200),
    "describe": ("GET", "/models/echo", 200),
    "scale": ("PUT", "/models/echo?min_worker=1", 202),
    "default": ("PUT", "/models/echo/1.0/set-default", 200),
    "register": ("POST", "/models?url=a.mar", 200),
    "register echo": ("POST", "/models?url=a.mar&model_name=echo", 200),
    "unregister": ("DELETE", "/models/echo/1.0", 200),
    "metrics": ("GET", "/metrics", 200),
}
FOR_ALL = set(ASKED)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("predict", {"predict", "predict other", "list", "describe", "metrics"}),
        ("predict:echo", {"predict", "list", "describe", "metrics"}),
        ("predict:other", {"predict other", "list", "metrics"}),
        ("feedback", {"list", "describe", "metrics"}),
        ("manage:echo", FOR_ALL - {"predict other", "register"}),
        ("manage", FOR_ALL),
    ],
)
def test_a_key_may_do_what_its_scope_says(
    door: MakeDoor, token: Callable[..., str], scope: str, allowed: set[str]
) -> None:
    sent = {"Authorization": f"Bearer {token(scope)}"}
    closed = door(needs_keys=True)
    found = {}
    for name, (method, path, expected) in ASKED.items():
        status = closed.ask(method, path, sent, body=b"x" if method == "POST" else b"").status
        assert status in (expected, 403)
        found[name] = status == expected
    assert {name for name, done in found.items() if done} == allowed


def test_a_key_sees_its_own_models_alone(door: MakeDoor, token: Callable[..., str]) -> None:
    sent = {"Authorization": f"Bearer {token('predict:other')}"}
    said = door(needs_keys=True).ask("GET", "/models", sent)
    assert [one["modelName"] for one in json.loads(said.body)["models"]] == ["other"]


def test_limits_of_a_key_are_shared_by_all_faces(door: MakeDoor, token: Callable[..., str]) -> None:
    limited = token("predict", limits=Limits(rate=0.1))
    closed = door(needs_keys=True)
    sent = {"Authorization": f"Bearer {limited}"}
    assert closed.ask(headers=sent, body=b"x").status == 200
    said = closed.ask(path="/predictions/echo", headers=sent, body=b"x")
    assert (said.status, said.headers["retry-after"]) == (429, "10")
    other = {"Authorization": f"Bearer {token('predict')}"}
    assert closed.ask(headers=other, body=b"x").status == 200


def test_an_expired_key(door: MakeDoor, token: Callable[..., str]) -> None:
    sent = {"Authorization": f"Bearer {token('predict', lifetime=0.0)}"}
    assert door(needs_keys=True).ask(headers=sent).code == "key-expired"


def test_this_machine_may_ask_for_health_and_metrics(door: MakeDoor) -> None:
    closed = door(needs_keys=True)
    for path in ("/ping", "/metrics", "/v2/health/live"):
        assert closed.ask("GET", path).status == 200


def test_metrics_of_all_models_are_not_for_others_with_a_key_for_one(
    door: MakeDoor, token: Callable[..., str]
) -> None:
    proxied = door(behind_proxy=("127.0.0.1",), needs_keys=True)
    other = {"X-Forwarded-For": "203.0.113.9"}
    one, all_ = token("predict:echo"), token("predict")
    assert proxied.ask("GET", "/metrics", other | {"X-Api-Key": one}).code == "key-scope"
    assert proxied.ask("GET", "/metrics", other | {"X-Api-Key": all_}).status == 200


@pytest.mark.parametrize(
    "head", ["HTTP/1.1", "HTTP/1.1\r\nHost:", "HTTP/1.1\r\nHost: ", "HTTP/1.0\r\nHost:"]
)
def test_a_request_without_a_host_is_malformed(door: MakeDoor, head: str) -> None:
    (said,) = door().raw(f"GET /v2 {head}\r\n\r\n".encode())
    assert (said.status, said.code) == (400, "bad-request")


def test_hints_name_a_scope(door: MakeDoor, token: Callable[..., str]) -> None:
    closed = door(needs_keys=True)
    assert hint_of(closed.ask(body=b"x")).endswith("key add NAME --scope predict")
    expired = {"X-Api-Key": token("predict:echo", "feedback", lifetime=0.0)}
    given = "key add NAME --scope predict:echo --scope feedback"
    assert hint_of(closed.ask(headers=expired, body=b"x")).endswith(given)


def hint_of(said: Said) -> str:
    return str(json.loads(said.body)["hint"])


def test_callers_do_not_learn_where_the_keys_are(
    door: MakeDoor, token: Callable[..., str], store: KeyStore
) -> None:
    sent = {"X-Api-Key": token("predict")}
    store.path.write_text("{")
    said = door(needs_keys=True).ask(headers=sent, body=b"x")
    assert (said.status, said.code) == (503, "keys-unreadable")
    assert store.path.name.encode() not in said.body


# ---- bodies


def test_a_body_larger_than_max_request_size_is_refused_before_it_comes(door: MakeDoor) -> None:
    small = door(properties={"max_request_size": "1000"})
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n"
    (said,) = small.raw(f"{head}Content-Length: 1001\r\n\r\n".encode())
    assert (said.status, said.code, said.ended) == (413, "body-too-large", True)
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    said = small.raw(chunked + chunk + b"1\r\nx\r\n")[0]
    assert (said.status, said.ended) == (413, True)
    assert small.backend.calls == []
    (said,) = small.raw(chunked + chunk + b"0\r\n\r\n")
    assert (said.status, len(said.body)) == (200, 1000)


def test_a_refused_request_whose_body_is_small_keeps_its_connection(door: MakeDoor) -> None:
    closed = door(needs_keys=True)
    one = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".encode()
    assert [said.status for said in closed.raw(one * 3)] == [401, 401, 401]


# ---- browsers


def test_a_name_that_is_not_the_gateways_is_refused(door: MakeDoor) -> None:
    """DNS rebinding: the page's own name leads to this machine, and the browser sends it."""
    open_ = door(allow_hosts=("models.example.org",))
    assert open_.ask(headers={"Host": "evil.example"}).code == "host-unknown"
    assert open_.ask("GET", "/ping", {"Host": "evil.example:8000"}).status == 421
    assert open_.ask("GET", "/ping", {"Host": "models.example.org"}).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PREDICT), ("POST", "/predictions/echo"), ("PUT", "/models/echo"), ("DELETE", "/a")],
)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_pages_of_other_sites_change_nothing(
    door: MakeDoor, method: str, path: str, origin: str
) -> None:
    open_ = door()
    said = open_.ask(method, path, {"Origin": origin})
    assert said.status == 403
    assert "access-control-allow-origin" not in said.headers
    assert open_.backend.calls == []
    assert open_.backend.done == []


def test_pages_of_the_gateway_itself_may(door: MakeDoor) -> None:
    open_ = door()
    host = f"127.0.0.1:{open_.port}"
    assert open_.ask(headers={"Origin": f"http://{host}"}, body=b"x").status == 200
    assert open_.ask(headers={"Origin": f"https://{host}"}, body=b"x").status == 403


PREFLIGHT = {
    "Origin": "https://app.example.org",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}


def test_cors_is_closed_unless_named(door: MakeDoor) -> None:
    said = door().ask("OPTIONS", PREDICT, PREFLIGHT)
    assert not [name for name in said.headers if name.startswith("access-control")]


def test_cors_is_open_to_named_pages(door: MakeDoor, token: Callable[..., str]) -> None:
    named = door(cors_origins=("https://app.example.org",), needs_keys=True)
    said = named.ask("OPTIONS", PREDICT, PREFLIGHT)
    assert (said.status, said.headers["access-control-allow-origin"]) == (200, PREFLIGHT["Origin"])
    assert "authorization" in said.headers["access-control-allow-headers"]
    sent = {"Origin": PREFLIGHT["Origin"], "Authorization": f"Bearer {token('predict')}"}
    said = named.ask(headers=sent, body=b"x")
    assert (said.status, said.headers["access-control-allow-origin"]) == (200, PREFLIGHT["Origin"])
    assert said.headers["vary"] == "origin"
    other = named.ask("OPTIONS", PREDICT, PREFLIGHT | {"Origin": "https://evil.example"})
    assert (other.status, other.headers.get("access-control-allow-origin")) == (401, None)


NAMED = "https://app.example.org"
ASKS = [
    ("POST", PREDICT),
    ("POST", "/models/echo/versions/1.0/predict"),
    ("POST", "/predictions/echo"),
    ("POST", "/models/echo/invoke"),
    ("POST", "/echo/1.0/predict"),
    ("GET", "/v2/models/echo"),
    ("GET", "/ping"),
]
MANAGES = [
    ("PUT", "/models/echo?min_worker=2"),
    ("PUT", "/models/echo/1.0/set-default"),
    ("POST", "/models?url=a.mar"),
    ("DELETE", "/models/echo"),
    ("GET", "/models"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), ASKS)
def test_named_pages_may_ask_models(door: MakeDoor, method: str, path: str) -> None:
    named = door(cors_origins=(NAMED,))
    said = named.ask(method, path, {"Origin": NAMED}, b"x" if method == "POST" else b"")
    assert (said.status, said.headers["access-control-allow-origin"]) == (200, NAMED)
    said = named.ask("OPTIONS", path, PREFLIGHT)
    assert (said.status, said.headers["access-control-allow-methods"]) == (200, "get, post")


@pytest.mark.parametrize(("method", "path"), MANAGES)
def test_named_pages_need_a_key_to_manage_on_this_machine_too(
    door: MakeDoor, token: Callable[..., str], method: str, path: str
) -> None:
    named = door(cors_origins=(NAMED,))
    assert named.ask(method, path, {"Origin": NAMED}).status == 401
    bearer = {"Origin": NAMED, "Authorization": "Bearer of-torchserve"}
    assert named.ask(method, path, bearer).status == 401
    weak = {"Origin": NAMED, "X-Api-Key": token("predict")}
    assert named.ask(method, path, weak).status == 403
    assert named.backend.done == []
    strong = {"Origin": NAMED, "X-Api-Key": token("manage")}
    assert named.ask(method, path, strong).status in (200, 202, 404)
    assert named.ask(method, path).status in (200, 202, 404)  # no page


def test_preflights_allow_management_only_with_a_key(door: MakeDoor) -> None:
    named = door(cors_origins=(NAMED,))
    wanted = PREFLIGHT | {"Access-Control-Request-Method": "PUT"}
    for headers in ("authorization", "content-type, X-Api-Key"):
        sent = wanted | {"Access-Control-Request-Headers": headers}
        said = named.ask("OPTIONS", "/models/echo", sent)
        assert said.status == 200
        assert said.headers["access-control-allow-methods"] == "get, post, put, delete"
    for headers in ("content-type", ""):
        sent = wanted | {"Access-Control-Request-Headers": headers}
        said = named.ask("OPTIONS", "/models/echo", sent)
        assert said.status == 401
        assert "access-control-allow-methods" not in said.headers


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8", "image/svg+xml"])
def test_what_a_model_answers_runs_nothing_in_a_browser(door: MakeDoor, kind: str) -> None:
    open_ = door()
    open_.backend.content_type = kind
    said = open_.ask(body=b"<script>alert(1)</script>")
    assert said.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert said.headers["x-content-type-options"] == "nosniff"


def test_pages_of_the_gateway_run_no_inline_script() -> None:
    async def page(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "scheme": "http"}
    scope |= {"http_version": "1.1", "headers": [(b"host", b"localhost")], "client": ("::1", 1)}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    app = Observe(Access(page, Gate(), lambda _error, _facts: page), Observer())
    asyncio.run(app(scope, receive, send))
    policy = dict(sent[0]["headers"])[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.replace("style-src 'self' 'unsafe-inline'", "")


def test_other_answers_have_no_policy(door: MakeDoor) -> None:
    assert "content-security-policy" not in door().ask(body=b"x").headers


# ---- proxies


def test_forwarded_addresses_of_strangers_are_not_believed(door: MakeDoor) -> None:
    sent = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    open_ = door()
    host = f"127.0.0.1:{open_.port}"
    assert open_.ask(headers=sent | {"Origin": f"https://{host}"}, body=b"x").status == 403
    proxied = door(behind_proxy=("127.0.0.1",))
    host = f"127.0.0.1:{proxied.port}"
    assert proxied.ask(headers=sent | {"Origin": f"https://{host}"}, body=b"x").status == 200


def test_behind_a_proxy_on_this_machine_its_clients_are_not_this_machine(door: MakeDoor) -> None:
    proxied = door(behind_proxy=("127.0.0.1",), needs_keys=True)
    assert proxied.ask("GET", "/metrics", {"X-Forwarded-For": "203.0.113.9"}).status == 401
    assert proxied.ask("GET", "/metrics").status == 401
    assert proxied.ask("GET", "/metrics", {"X-Forwarded-For": "127.0.0.1"}).status == 401
