"""The file of keys, and what a running gateway accepts."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.gateway.access import key_store
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Key, Limits, Scope, digest_of, new_key
from marsmith.gateway.refusals import GatewayError
from tests.codes import coded


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_store, "_LOOK", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.json")


def added(store: KeyStore, name: str = "ci", lifetime: float | None = None) -> str:
    key, token = new_key(name, [Scope("predict")], time.time(), lifetime, Limits(rate=2.0))
    store.add(key)
    return token


def test_a_key_that_was_added_is_accepted_until_it_is_revoked(store: KeyStore) -> None:
    ring = KeyRing(store)
    token, other = added(store), added(store, "other")
    assert (ring.check(token).name, ring.check(other).name) == ("ci", "other")
    store.revoke("ci")
    with pytest.raises(GatewayError, check=coded("key-unknown")):
        ring.check(token)
    assert ring.check(other).limits == Limits(rate=2.0)
    store.revoke(ring.check(other).id)
    assert store.read() == ()


def test_the_file_is_private_and_has_no_secret(store: KeyStore) -> None:
    token = added(store)
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert token.rpartition("_")[2] not in store.path.read_text()
    assert digest_of(token) in store.path.read_text()


def test_names_are_unique(store: KeyStore) -> None:
    added(store)
    before = store.path.read_bytes()
    with pytest.raises(ProjectError, check=coded("key-exists")):
        added(store)
    with pytest.raises(ProjectError, check=coded("no-such-key")):
        store.revoke("another")
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("change", ["", "x", "mk", "another"])
def test_what_is_no_key_is_refused(store: KeyStore, change: str) -> None:
    token = added(store)
    wrong = {
        "": "",
        "x": token[:-1] + ("A" if token[-1] != "A" else "B"),
        "mk": token.removeprefix("mk_"),
        "another": new_key("ci", [], 0.0, None, Limits())[1],
    }[change]
    with pytest.raises(GatewayError, check=coded("key-unknown")):
        KeyRing(store).check(wrong)


def test_a_key_expires(store: KeyStore) -> None:
    token = added(store, lifetime=0.05)
    ring = KeyRing(store)
    assert ring.check(token).name == "ci"
    time.sleep(0.06)
    with pytest.raises(GatewayError, check=coded("key-expired")):
        ring.check(token)


def test_the_gateways_own_key_works_whatever_the_file_is(store: KeyStore) -> None:
    store.path.write_text("{")
    own = Key("marsmith", "marsmith", digest_of("secret"), (Scope("manage"),), 0.0)
    ring = KeyRing(store, own)
    assert ring.check("secret") is own
    with pytest.raises(GatewayError, check=coded("keys-unreadable")):
        ring.check("another")


DAMAGED = {
    "cut off": '{"format": 1, "keys": [',
    "no object": "[]",
    "another format": '{"format": 2, "keys": []}',
    "no text": "\x00\xff",
    "no keys": '{"format": 1, "keys": 5}',
    "an unknown value": '{"format": 1, "keys": [{"id": "1"}]}',
    "another scope": '{"format": 1, "keys": [{"scopes": ["all"], "limits": {}}]}',
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_lets_nobody_in_and_is_not_written_over(store: KeyStore, text: str) -> None:
    token = added(store)
    ring = KeyRing(store)
    good = store.path.read_bytes()
    ring.check(token)
    store.path.write_text(text, encoding="latin-1")
    with pytest.raises(GatewayError, check=coded("keys-unreadable")) as caught:
        ring.check(token)
    assert (caught.value.status, caught.value.retry_after) == (503, 5)
    with pytest.raises(ProjectError, check=coded("keys-unreadable")):
        added(store, "another")
    assert store.path.read_text(encoding="latin-1") == text
    store.path.write_bytes(good)
    assert ring.check(token).name == "ci"


def test_a_file_that_others_can_write_is_not_believed(store: KeyStore) -> None:
    token = added(store)
    store.path.chmod(0o620)
    with pytest.raises(GatewayError, check=coded("keys-unreadable")):
        KeyRing(store).check(token)


def test_a_file_that_vanishes_has_no_keys(store: KeyStore) -> None:
    token = added(store)
    ring = KeyRing(store)
    ring.check(token)
    store.path.unlink()
    with pytest.raises(GatewayError, check=coded("key-unknown")):
        ring.check(token)


def test_a_file_that_cannot_be_written(store: KeyStore) -> None:
    store.path.with_name("keys.json.lock").mkdir()
    with pytest.raises(ProjectError, check=coded("keys-unreadable")):
        added(store)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, check=coded("keys-unreadable")):
        added(KeyStore(tmp_path / "none" / "keys.json"))


def _add_some(path: str, name: str) -> None:
    for number in range(10):
        added(KeyStore(Path(path)), f"{name}{number}")


@pytest.mark.processes
def test_several_who_change_it_lose_nothing(store: KeyStore) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_some, args=(str(store.path), n)) for n in "abc"]
    for one in processes:
        one.start()
    for one in processes:
        one.join()
    assert len(store.read()) == 30
    json.loads(store.path.read_text())
