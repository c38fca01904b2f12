"""Keys: what they look like, what they may do, how they are kept."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.keys import (
    Key,
    Limits,
    Scope,
    ScopeKind,
    digest_of,
    id_of,
    key_from,
    key_values,
    new_key,
    parse_lifetime,
    parse_scope,
)
from tests.codes import coded


def a_key(*scopes: str, name: str = "ci", limits: Limits | None = None) -> tuple[Key, str]:
    given = map(parse_scope, scopes or ("predict",))
    return new_key(name, given, 1000.0, 60.0, limits or Limits())


def test_a_key_has_256_random_bits_and_keeps_only_their_digest() -> None:
    key, token = a_key()
    other, _ = a_key()
    assert key.id != other.id
    assert id_of(token) == key.id
    assert len(token) == len("mk_") + 12 + 1 + 43
    assert key.digest == digest_of(token)
    assert token not in json.dumps(key_values(key))
    assert key.expires == 1060.0


@pytest.mark.parametrize(
    "token", ["", "mk_", "mk_0123456789ab_short", "Mk_0123456789ab_" + "a" * 43, "é" * 59]
)
def test_what_is_no_key_has_no_id(token: str) -> None:
    assert id_of(token) is None


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "a" * 65, "a\n", "../a"])
def test_names(name: str) -> None:
    with pytest.raises(MarsmithError, check=coded("key-name")):
        a_key(name=name)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("predict", {"predict/a", "predict/b", "predict/*"}),
        ("predict:a", {"predict/a"}),
        ("feedback:b", {"feedback/b"}),
        ("manage:a", {"predict/a", "feedback/a", "manage/a"}),
        (
            "manage",
            {f"{kind}/{model}" for kind in ("predict", "feedback", "manage") for model in "ab*"},
        ),
    ],
)
def test_what_a_scope_allows(scope: str, allowed: set[str]) -> None:
    parsed = parse_scope(scope)
    asked = [(kind, model) for kind in get_args(ScopeKind) for model in ("a", "b", None)]
    found = {f"{kind}/{model or '*'}" for kind, model in asked if parsed.allows(kind, model)}
    assert found == allowed
    assert str(parsed) == scope


@pytest.mark.parametrize("text", ["", "read", "predict:", "predict:a:b", "Predict", "predict:a b"])
def test_scopes(text: str) -> None:
    with pytest.raises(MarsmithError, check=coded("key-scope")):
        parse_scope(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7776000.0), ("12h", 43200.0), ("1m", 60.0), ("never", None)]
)
def test_lifetimes(text: str, seconds: float | None) -> None:
    assert parse_lifetime(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "-1d", "90", "90days", "1.5h", "999999d", "٣d"])
def test_what_is_no_lifetime(text: str) -> None:
    with pytest.raises(MarsmithError, check=coded("key-lifetime")):
        parse_lifetime(text)


limits = st.builds(
    Limits,
    st.none() | st.floats(0.001, 1e6),
    st.none() | st.integers(1, 1000),
    st.none() | st.floats(1, 1e12),
)
scopes = st.builds(
    Scope, st.sampled_from(["predict", "feedback", "manage"]), st.none() | st.just("a-1.b_c")
)


@given(st.lists(scopes, min_size=1).map(tuple), limits, st.none() | st.floats(0, 1e12))
def test_what_is_written_is_read(
    scopes: tuple[Scope, ...], limits: Limits, expires: float | None
) -> None:
    key = Key("0123456789ab", "ci", "0" * 64, scopes, 5.0, expires, limits)
    assert key_from(json.loads(json.dumps(key_values(key)))) == key
