"""What is closed; tests/integration/test_security.py sees that TorchServe then refuses."""

from __future__ import annotations

import pytest

from marsmith.core.errors import ProjectError
from marsmith.security.exposure_rules import asks_for_tokens, guarded, token_lifetime

OPEN = {"disable_token_authorization": "true"}


def test_what_nobody_asked_to_be_open_is_closed() -> None:
    found = guarded(OPEN, secure=False)
    assert found.properties == OPEN | {"workflow_store": "/dev/null", "allowed_urls": "(?!)"}
    assert found.warnings == ()


def test_what_config_properties_opens_stays_open() -> None:
    given = OPEN | {"allowed_urls": "https://models\\.example/.*", "enable_model_api": "true"}
    assert given.items() <= guarded(given, secure=False).properties.items()


def test_secure_turns_tokens_on_and_with_them_the_model_api() -> None:
    found = guarded(OPEN, secure=True).properties
    assert asks_for_tokens(found)
    assert found["enable_model_api"] == "true"


def test_a_model_api_that_was_turned_off_stays_off() -> None:
    found = guarded(OPEN | {"enable_model_api": "false"}, secure=True).properties
    assert found["enable_model_api"] == "false"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inference_address", "http://0.0.0.0:8080"),
        ("management_address", "https://192.0.2.1:8081"),
        ("grpc_inference_address", "0.0.0.0"),
        ("grpc_management_address", "host.example"),
    ],
)
def test_an_open_address_turns_tokens_on_and_says_so(key: str, value: str) -> None:
    found = guarded(OPEN | {key: value}, secure=False)
    assert asks_for_tokens(found.properties)
    assert found.warnings[0].rule == "open-address"
    assert value.split("//")[-1].split(":")[0] in found.warnings[0].message


def test_an_open_address_without_tls_is_told() -> None:
    config = {"inference_address": "https://0.0.0.0:8080", "grpc_inference_address": "0.0.0.0"}
    (unencrypted,) = guarded(config, secure=True).warnings
    assert unencrypted.rule == "not-encrypted"
    assert "grpc://0.0.0.0:7070" in unencrypted.message
    assert "https://0.0.0.0:8080" not in unencrypted.message
    assert guarded(config | {"enable_grpc_ssl": "true"}, secure=True).warnings == ()


def test_open_metrics_are_refused_since_no_token_guards_them() -> None:
    with pytest.raises(ProjectError) as caught:
        guarded({"metrics_address": "http://0.0.0.0:8082"}, secure=True)
    assert caught.value.code == "open-metrics"


def test_workflows_are_for_those_with_a_token_alone() -> None:
    config = OPEN | {"workflow_store": "workflows"}
    with pytest.raises(ProjectError) as caught:
        guarded(config, secure=False)
    assert caught.value.code == "open-workflows"
    assert guarded(config, secure=True).properties["workflow_store"] == "workflows"


@pytest.mark.parametrize("minutes", ["", "soon", "0", "-1", "nan", "inf"])
def test_a_key_that_cannot_live_is_refused(minutes: str) -> None:
    with pytest.raises(ProjectError) as caught:
        token_lifetime({"token_expiration_min": minutes})
    assert caught.value.code == "bad-token-lifetime"


def test_keys_live_for_an_hour_unless_config_properties_says_otherwise() -> None:
    assert token_lifetime({}) == 3600
    assert token_lifetime({"token_expiration_min": "0.5"}) == 30
