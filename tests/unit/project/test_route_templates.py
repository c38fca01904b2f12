"""marsmith/project/route_templates.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.project.route_templates import template_findings
from tests.projects import make_project, minimal_spec

SAMPLE = '[[archives.tiny.samples]]\nrequest = "a"\nresponse = "b.json"\n'
ROUTE = '[gateway.routes."/a"]\nmodel = "tiny"\n'


def found(
    root: Path, answer: str, response: str = '{"label": "7"}', more: str = SAMPLE
) -> list[str]:
    """Return the rules, lines and hints of what is found."""
    files = {"b.json": response}
    project = make_project(root, files, minimal_spec(f"{more}{ROUTE}answer = {answer}\n"))
    return [f"{one.rule} {one.line} {one.hint}" for one in template_findings(project)]


@pytest.mark.parametrize("answer", ['"${label}"', '["is ${label} $$"]', '{ all = "${}" }', '"7"'])
def test_a_template_that_the_samples_fill_is_sound(tmp_path: Path, answer: str) -> None:
    assert found(tmp_path, answer) == []


def test_a_placeholder_that_no_sample_has_is_found_on_its_line(tmp_path: Path) -> None:
    expected = ["placeholder 9 did you mean 'label'?"]
    assert found(tmp_path, '"${lable}"') == expected


def test_a_value_may_be_in_some_answers_only(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"error": "none"}')
    more = SAMPLE + SAMPLE.replace("b.json", "c.json")
    assert found(tmp_path, '"${label}"', more=more) == []


@pytest.mark.parametrize(("response", "more"), [("7.5, no JSON", SAMPLE), ("7", "")])
def test_a_model_without_a_json_sample_is_taken_at_its_word(
    tmp_path: Path, response: str, more: str
) -> None:
    assert found(tmp_path, '"${label}"', response, more) == []


@pytest.mark.parametrize(
    ("response", "rules"),
    [
        ('{"label": "7"}', [("grpc-answer", 8)]),
        ('{"model_degree": 1, "exif_degree": 0, "confidence": 1, "success": true}', []),
        ("no JSON", []),
    ],
)
def test_the_model_of_rotations_clients_answers_what_they_need(
    tmp_path: Path, response: str, rules: list[tuple[str, int]]
) -> None:
    spec = minimal_spec(f'{SAMPLE}[gateway.grpc]\nmodel = "tiny"\n')
    project = make_project(tmp_path, {"b.json": response}, spec)
    assert [(one.rule, one.line) for one in template_findings(project)] == rules
