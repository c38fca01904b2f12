"""Is config.properties understood by TorchServe, and does it let in only who should be?"""

from __future__ import annotations

from collections.abc import Iterator

from marsmith.core.errors import ProjectError
from marsmith.core.findings import Finding, Severity
from marsmith.core.suggestions import did_you_mean
from marsmith.project.project import Project
from marsmith.security.exposure_rules import NO_WORKFLOWS
from marsmith.torchserve.properties import CONFIG_FILE, KEYS, Address, addresses, property_lines

# Set there they do nothing: TorchServe reads them elsewhere (ConfigManager.java, ModelConfig.java).
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
        for rule, key, message, hint, severity in _problems(project.config):
            yield Finding(message, hint, CONFIG_FILE, lines.get(key), severity, rule)


_Problem = tuple[str, str, str, str, Severity]  # rule, key, message, hint, severity


def _problems(values: dict[str, str]) -> Iterator[_Problem]:
    yield from _unread_keys(values)
    try:
        open_places = [place for place in addresses(values) if not place.is_loopback]
    except ProjectError as error:
        yield "config-value", "", error.message, error.hint, Severity.ERROR
        return
    yield from _exposure(values, open_places)


def _unread_keys(values: dict[str, str]) -> Iterator[_Problem]:
    for key in values:
        if key in _ELSEWHERE:
            message = f"TorchServe ignores {key} here"
            yield "config-ignored", key, message, f"set {_ELSEWHERE[key]}", Severity.WARNING
        elif key not in KEYS:
            hint = did_you_mean(key, KEYS, "remove it, or correct its name")
            message = f"TorchServe does not know the key {key!r}, and ignores it"
            yield "config-key", key, message, hint, Severity.WARNING


def _exposure(values: dict[str, str], open_places: list[Address]) -> Iterator[_Problem]:
    tokens_off = _is_true(values, "disable_token_authorization")
    for place in open_places:
        message = f"the {place.role} address is open to other machines, without a token"
        hint = "listen on 127.0.0.1, behind a proxy that asks who is there"
        if tokens_off or place.role == "metrics":  # which TorchServe never asks a token for
            yield "config-exposed", place.key, message, hint, Severity.ERROR
    if tokens_off and values.get("workflow_store") != NO_WORKFLOWS:
        message = (
            "POST /workflows runs code of any .war in the workflow store, by default the model"
        )
        message += " store, whatever enable_model_api says"
        hint = f"workflow_store={NO_WORKFLOWS}"
        yield "config-workflows", "workflow_store", message, hint, Severity.WARNING
    any_url = values.get("allowed_urls", "").strip() in ("", ".*")
    if _is_true(values, "enable_model_api") and tokens_off and any_url:
        message = "whoever reaches the management address can load code from any URL"
        hint = "allowed_urls=file://.*  or  enable_model_api=false"
        severity = Severity.ERROR if open_places else Severity.WARNING
        yield "config-model-api", "enable_model_api", message, hint, severity
    if values.get("cors_allowed_origin", "").strip() == "*":
        message = "any web page that somebody visits may ask this server"
        hint = "name the origins that may: cors_allowed_origin=https://…"
        yield "config-cors", "cors_allowed_origin", message, hint, Severity.WARNING


def _is_true(values: dict[str, str], key: str) -> bool:
    return values.get(key, "").strip().lower() == "true"
