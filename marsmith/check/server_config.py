"""Check the keys of config.properties, and what it exposes to other machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from marsmith.core.errors import ProjectError
from marsmith.core.findings import Finding, Severity
from marsmith.core.suggestions import did_you_mean
from marsmith.project.project import Project
from marsmith.security.exposure_rules import NO_WORKFLOWS
from marsmith.torchserve.properties import CONFIG_FILE, KEYS, Address, addresses, property_lines

# Ignored in config.properties; TorchServe reads them elsewhere (ConfigManager, ModelConfig.java).
_ELSEWHERE = {
    "batch_size": "batchSize in [archives.NAME.serving]",
    "max_batch_delay": "maxBatchDelay in [archives.NAME.serving]",
    "batch_delay": "maxBatchDelay in [archives.NAME.serving]",
    "min_workers": "minWorkers in [archives.NAME.serving]",
    "max_workers": "maxWorkers in [archives.NAME.serving]",
    "response_timeout": "default_response_timeout here, or responseTimeout of an archive",
    "startup_timeout": "default_startup_timeout here, or startupTimeout of an archive",
    "log_location": "the environment variable LOG_LOCATION",
    "metrics_location": "the environment variable METRICS_LOCATION",
}


def check_server_config(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with a project's config.properties, if it has one."""
    path = project.root / CONFIG_FILE
    if path.exists():
        lines = property_lines(path.read_text(encoding="latin-1"))
        for key, finding in _problems(project.config):
            yield replace(finding, file=CONFIG_FILE, line=lines.get(key))


_Problem = tuple[str, Finding]  # with the key that it is about


def _problems(values: dict[str, str]) -> Iterator[_Problem]:
    yield from _unread_keys(values)
    try:
        open_places = [place for place in addresses(values) if not place.is_loopback]
    except ProjectError as error:
        yield "", Finding(error.message, error.hint, rule="config-value")
        return
    yield from _exposed_addresses(values, open_places)
    yield from _exposed_apis(values, bool(open_places))


def _unread_keys(values: dict[str, str]) -> Iterator[_Problem]:
    for key in values:
        if key in _ELSEWHERE:
            message, hint = f"TorchServe ignores {key} here", f"set {_ELSEWHERE[key]}"
            yield key, Finding(message, hint, severity=Severity.WARNING, rule="config-ignored")
        elif key not in KEYS:
            hint = did_you_mean(key, KEYS, "remove it, or correct its name")
            message = f"TorchServe ignores the unknown key {key!r}"
            yield key, Finding(message, hint, severity=Severity.WARNING, rule="config-key")


def _exposed_addresses(values: dict[str, str], open_places: list[Address]) -> Iterator[_Problem]:
    for place in open_places:
        # TorchServe never asks for a token at the metrics address.
        if _without_tokens(values) or place.role == "metrics":
            message = f"the {place.role} address is open to other machines, without a token"
            hint = "listen on 127.0.0.1, behind a proxy that authenticates callers"
            yield place.key, Finding(message, hint, rule="config-exposed")


def _exposed_apis(values: dict[str, str], is_open: bool) -> Iterator[_Problem]:
    if _without_tokens(values) and values.get("workflow_store") != NO_WORKFLOWS:
        message = (
            "POST /workflows runs code of any .war in the workflow store (by default the model "
            "store), even with enable_model_api=false"
        )
        hint = f"set workflow_store={NO_WORKFLOWS}"
        warning = Finding(message, hint, severity=Severity.WARNING, rule="config-workflows")
        yield "workflow_store", warning
    any_url = values.get("allowed_urls", "").strip() in ("", ".*")
    if _is_true(values, "enable_model_api") and _without_tokens(values) and any_url:
        message = "anyone who reaches the management address can load code from any URL"
        hint = "set allowed_urls=file://.* or enable_model_api=false"
        severity = Severity.ERROR if is_open else Severity.WARNING
        finding = Finding(message, hint, severity=severity, rule="config-model-api")
        yield "enable_model_api", finding
    if values.get("cors_allowed_origin", "").strip() == "*":
        message = "any web page that a user visits may send requests to this server"
        hint = "name the allowed origins: cors_allowed_origin=https://…"
        warning = Finding(message, hint, severity=Severity.WARNING, rule="config-cors")
        yield "cors_allowed_origin", warning


def _without_tokens(values: dict[str, str]) -> bool:
    return _is_true(values, "disable_token_authorization")


def _is_true(values: dict[str, str], key: str) -> bool:
    return values.get(key, "").strip().lower() == "true"
