"""marsmith/check/server_config.py."""

from __future__ import annotations

import pytest

from marsmith.check.server_config import check_server_config
from tests.projects import SPEC
from tests.unit.conftest import MakeProject

CLOSED = "workflow_store=/dev/null\n"
OPEN = "disable_token_authorization=true\n"


def found(project: MakeProject, text: str) -> list[tuple[str, str, int | None]]:
    made = project({"config.properties": text}, SPEC)
    return [(one.rule, one.severity.value, one.line) for one in check_server_config(made)]


def test_without_the_file_there_is_nothing_to_say(project: MakeProject) -> None:
    assert list(check_server_config(project({}, SPEC))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CLOSED, []),
        (f"{CLOSED}job_queue_sise=4\n", [("config-key", "warning", 2)]),
        (f"{CLOSED}\nmax_workers=4\n", [("config-ignored", "warning", 3)]),
        (f"{CLOSED}inference_address=ftp://x\n", [("config-value", "error", None)]),
        (f"{CLOSED}cors_allowed_origin=*\n", [("config-cors", "warning", 2)]),
        (f"{CLOSED}cors_allowed_origin=https://a.example\n", []),
        (f"{CLOSED}inference_address=http://0.0.0.0:8080\n", []),  # with tokens
        (
            f"{OPEN}{CLOSED}inference_address=http://0.0.0.0:8080\n",
            [("config-exposed", "error", 3)],
        ),
        (f"{CLOSED}metrics_address=http://0.0.0.0:8082\n", [("config-exposed", "error", 2)]),
        (OPEN, [("config-workflows", "warning", None)]),
        (f"{OPEN}{CLOSED}enable_model_api=true\n", [("config-model-api", "warning", 3)]),
        (f"{OPEN}{CLOSED}enable_model_api=true\nallowed_urls=file://.*\n", []),
    ],
)
def test_what_is_ignored_or_open_is_found_at_its_line(
    project: MakeProject, text: str, expected: list[tuple[str, str, int | None]]
) -> None:
    assert found(project, text) == expected


def test_a_model_api_that_other_machines_reach_is_an_error(project: MakeProject) -> None:
    text = f"{OPEN}{CLOSED}enable_model_api=true\nmanagement_address=http://0.0.0.0:8081\n"
    assert ("config-model-api", "error", 3) in found(project, text)
