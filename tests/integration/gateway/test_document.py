"""The OpenAPI document of a real gateway: what it describes is so."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from marsmith.torchserve.ports import free_ports
from tests.browser.models import add_plain_models
from tests.integration.kit import ROOT
from tests.projects import copy_project

pytestmark = pytest.mark.processes
EXAMPLES = 40
# No schema tells which bytes are a picture.
NOT_TOLD: list[Any] = [positive_data_acceptance]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a gateway of the digits, and of models of bytes, a form and a text."""
    kit = copy_project(tmp_path_factory.mktemp("document"))
    add_plain_models(kit)
    kit("build")
    port = free_ports(2)
    kit("gateway", "--background", "--port", port)
    yield f"http://127.0.0.1:{port}"
    kit("stop", "--port", port)


def told(gateway: str) -> dict[str, object]:
    """Return the document."""
    with urllib.request.urlopen(f"{gateway}/openapi.json") as answer:
        document: dict[str, object] = json.loads(answer.read())
    return document


def test_the_document_is_valid(gateway: str) -> None:
    validate(told(gateway))


def test_forms_texts_and_headers_are_described_as_the_samples_have_them(gateway: str) -> None:
    paths: Any = told(gateway)["paths"]
    asked = {path.split("/")[2]: one["post"] for path, one in paths.items()}
    ids = [asked[name]["operationId"] for name in ("plain-bytes", "plain_bytes")]
    assert ids == ["predict_plain_bytes", "predict_plain_bytes_2"]
    form = asked["plain-form"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["word", "photo"]
    assert form["properties"]["photo"]["format"] == "binary"
    given = asked["plain-bytes"]["responses"]["200"]["content"]
    assert given["text/plain"]["schema"] == {"type": "string"}
    assert [one["name"] for one in asked["plain-classes"]["parameters"]] == ["x-form"]
    answers = asked["digits"]["responses"]["200"]["content"]
    assert set(answers) == {"application/json", "text/plain"}


def test_what_the_document_describes_is_so(gateway: str) -> None:
    seven = (ROOT / "samples" / "seven.png").read_bytes()
    for kind in ("image/png", "image/jpeg", "image/webp"):
        schemathesis.openapi.media_type(kind, st.binary(max_size=200) | st.just(seven))
    answered: set[int] = set()
    for found in schemathesis.openapi.from_dict(told(gateway)).get_all_operations():
        assert isinstance(found, Ok)

        @given(case=found.ok().as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case[Any]) -> None:
            said = case.call_and_validate(base_url=gateway, excluded_checks=NOT_TOLD)
            answered.add(said.status_code)

        ask()
    assert 200 in answered
    assert max(answered) < 500
