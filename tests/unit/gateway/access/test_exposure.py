"""Where a gateway may listen, and the commands that make its keys."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from marsmith.cli import cli
from marsmith.core.errors import MarsmithError, ProjectError
from marsmith.gateway.access.exposure import key_file
from marsmith.gateway.access.guards import tls_context
from marsmith.gateway.access.key_store import KeyStore
from marsmith.gateway.hosting import GATEWAY
from marsmith.gateway.options import GatewayOptions
from marsmith.project.project import Project
from marsmith.security.exposure_rules import asks_for_tokens
from marsmith.security.hardening import Guard
from tests.codes import coded
from tests.unit.conftest import MakeProject


def guarded(project: Project, **options: Any) -> Guard:
    given = GatewayOptions(**options)
    return GATEWAY.guard(project, given, GATEWAY.properties(project, given))


def key(project: Project, *words: str, code: str = "") -> Result:
    """Run `marsmith gateway key …`; it fails with `code`, or succeeds."""
    result = CliRunner().invoke(cli, ["--project", str(project.root), "gateway", "key", *words])
    if code:
        assert isinstance(result.exception, MarsmithError)
        assert coded(code)(result.exception)
    else:
        assert result.exit_code == 0, result.output
    return result


def test_on_this_machine_it_is_open_as_serve_is(project: MakeProject) -> None:
    found = guarded(project()).properties
    assert not asks_for_tokens(found)
    assert found.get("enable_model_api") != "true"
    assert found["allowed_urls"] == "(?!)"
    assert not asks_for_tokens(guarded(project(), host="localhost").properties)


def test_secure_asks_for_keys_here_too(project: MakeProject) -> None:
    found = guarded(project(), secure=True).properties
    assert asks_for_tokens(found)
    assert found["enable_model_api"] == "true"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "models.example.org"])
def test_other_addresses_need_tls_and_keys(project: MakeProject, host: str) -> None:
    made = project()
    with pytest.raises(ProjectError, check=coded("open-without-tls")):
        guarded(made, host=host)
    with pytest.raises(ProjectError, check=coded("open-without-keys")):
        guarded(made, host=host, tls=True)
    with pytest.raises(ProjectError, check=coded("open-without-keys")):
        guarded(made, host=host, behind_proxy=("10.0.0.1",))
    key(made, "add", "ci", "--scope", "predict")
    found = guarded(made, host=host, behind_proxy=("10.0.0.1",)).properties
    assert asks_for_tokens(found)


def test_behind_a_proxy_this_machine_needs_keys(project: MakeProject) -> None:
    with pytest.raises(ProjectError, check=coded("open-without-keys")):
        guarded(project(), behind_proxy=("127.0.0.1",))


def test_torchserves_own_ports_count(project: MakeProject) -> None:
    made = project()
    (made.root / "config.properties").write_text("management_address=http://0.0.0.0:8081\n")
    guarded(made)
    with pytest.raises(ProjectError, check=coded("open-without-tls")):
        guarded(made, torchserve_ports=True)


@pytest.mark.parametrize(
    "options",
    [{"cors_origins": ("*",)}, {"allow_hosts": ("a/b",)}, {"behind_proxy": ("everybody",)}],
)
def test_options_are_checked_before_anything_starts(
    project: MakeProject, options: dict[str, Any]
) -> None:
    made = project()
    key(made, "add", "ci", "--scope", "predict")
    with pytest.raises(ProjectError, check=coded("gateway-option")):
        guarded(made, **options)


def test_the_arguments_of_the_command_hold_all_options(tmp_path: Path) -> None:
    options = GatewayOptions(
        secure=True,
        tls=True,
        keys=tmp_path / "keys.json",
        behind_proxy=("10.0.0.1", "::1"),
        allow_hosts=("a.example.org",),
        cors_origins=("https://b.example.org",),
        otel=True,
    )
    words = " ".join(options.arguments())
    for one in (
        f"--keys {tmp_path}/keys.json",
        "--behind-proxy 10.0.0.1 --behind-proxy ::1",
        "--allow-host a.example.org",
        "--cors-origin https://b.example.org",
        "--otel",
        "--secure",
        "--tls",
    ):
        assert one in words


def test_tls_1_2_is_the_least(project: MakeProject) -> None:
    made = project()
    key(made, "add", "ci", "--scope", "predict")
    found = guarded(made, host="0.0.0.0", tls=True)
    context = tls_context(found.properties)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert found.certificate == made.root / ".marsmith" / "tls" / "development.pem"
    assert tls_context({"inference_address": "http://127.0.0.1:8000"}) is None


# ---- marsmith gateway key


def test_a_key_is_made_listed_and_revoked(project: MakeProject) -> None:
    made = project()
    result = key(
        made, "add", "ci", "--scope", "predict:digits", "--scope", "feedback", "--rate", "5"
    )
    token = result.stdout.strip()
    (kept,) = KeyStore(key_file(made)).read()
    assert token.startswith(f"mk_{kept.id}_")
    assert [str(scope) for scope in kept.scopes] == ["predict:digits", "feedback"]
    assert kept.limits.rate == 5
    assert kept.expires is not None
    assert kept.expires - kept.created == 90 * 86400
    (listed,) = json.loads(key(made, "list", "--json").stdout)
    assert (listed["name"], listed["id"]) == ("ci", kept.id)
    assert token not in key(made, "list").output
    assert kept.digest not in key(made, "list", "--json").output
    key(made, "revoke", "ci")
    assert json.loads(key(made, "list", "--json").stdout) == []
    key(made, "revoke", "ci", code="no-such-key")


def test_limits_are_listed(project: MakeProject) -> None:
    made = project()
    given = ["--rate", "2.5", "--concurrent", "3", "--bytes", "2000000"]
    key(made, "add", "ci", "--scope", "predict", *given)
    key(made, "add", "free", "--scope", "predict", "--expires", "never")
    limited, free = key(made, "list").output.splitlines()
    assert limited.split("  ")[2:4] == ["predict", "2.5 requests/s, 3 at once, 2000000 bytes/s"]
    assert free.split("  ")[2:] == ["predict", "never expires"]


def test_listing_writes_nothing(project: MakeProject) -> None:
    made = project()
    key(made, "list")
    assert not (made.root / ".marsmith").exists()


def test_what_cannot_be_a_key_changes_nothing(project: MakeProject) -> None:
    made = project()
    key(made, "add", "a b", "--scope", "predict", code="key-name")
    key(made, "add", "ci", "--scope", "everything", code="key-scope")
    key(made, "add", "ci", "--scope", "predict", "--expires", "soon", code="key-lifetime")
    assert not key_file(made).exists()
    key(made, "add", "ci", "--scope", "predict", "--expires", "never")
    key(made, "add", "ci", "--scope", "manage", code="key-exists")


def test_a_file_that_several_gateways_share(project: MakeProject, tmp_path: Path) -> None:
    made, shared = project(), str(tmp_path / "shared.json")
    key(made, "add", "ci", "--scope", "manage", "--keys", shared)
    assert not key_file(made).exists()
    guarded(made, host="0.0.0.0", keys=Path(shared), behind_proxy=("10.0.0.1",))
    nowhere = str(tmp_path / "none" / "keys.json")
    key(made, "add", "ci", "--scope", "manage", "--keys", nowhere, code="keys-unreadable")


def test_links_in_a_checkout_are_not_followed(project: MakeProject, tmp_path: Path) -> None:
    made = project()
    (made.root / ".marsmith").symlink_to(tmp_path)
    key(made, "add", "ci", "--scope", "predict", code="linked-folder")
    assert not (tmp_path / "gateway").exists()
