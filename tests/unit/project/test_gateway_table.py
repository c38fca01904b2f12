"""marsmith/project/gateway_table.py, as parse_spec uses it."""

from __future__ import annotations

import pytest

from marsmith.core.findings import Finding
from marsmith.project.spec import parse_spec
from tests.projects import minimal_spec

ROUTE = '[gateway.routes."/prediction"]\nmodel = "tiny"\n'


def problem(more: str) -> Finding:
    spec = parse_spec(minimal_spec(more))
    assert spec.gateway == {}
    assert list(spec.archives) == ["tiny"]
    (only,) = spec.problems
    return only


def test_a_table_is_read_as_it_is_written() -> None:
    spec = parse_spec(minimal_spec(ROUTE + 'fields = ["image"]\n[gateway.jobs]\n'))
    route = {"model": "tiny", "fields": ["image"]}
    assert (spec.problems, spec.gateway) == ((), {"routes": {"/prediction": route}, "jobs": {}})


def test_a_project_without_the_table_has_no_routes() -> None:
    assert parse_spec(minimal_spec()).gateway == {}


@pytest.mark.parametrize(
    ("more", "key", "meant", "line"),
    [
        ("[gateway]\nroute = 1\n", "route", "routes", 5),
        (ROUTE + 'feilds = ["a"]\n', "feilds", "fields", 6),
        (ROUTE + "missing = { stauts = 400 }\n", "stauts", "status", 6),
    ],
)
def test_a_misspelt_key_is_found_on_its_line(more: str, key: str, meant: str, line: int) -> None:
    found = [one for one in parse_spec(minimal_spec(more)).problems if one.rule == "unknown-key"]
    assert [one.line for one in found] == [line]
    assert repr(key) in found[0].message
    assert repr(meant) in found[0].hint


@pytest.mark.parametrize(
    "more",
    [
        'fields = "image"\n',
        "fields = []\n",
        'output = "base46"\n',
        "event = 1\n",
        "answer = 3\n",
        "missing = { status = 99 }\n",
        'headers = { "a b" = "c" }\n',
    ],
)
def test_a_value_of_the_wrong_kind_is_found_on_its_line(more: str) -> None:
    found = problem(ROUTE + more)
    assert (found.rule, found.location) == ("spec-value", "archives.toml:6")


def test_a_route_needs_a_model() -> None:
    found = problem('[gateway.routes."/prediction"]\nfields = ["image"]\n')
    assert (found.rule, found.line) == ("missing-key", 4)


@pytest.mark.parametrize("table", ['[gateway.routes."/a"]', "[gateway.grpc]"])
def test_a_model_must_be_one_of_the_projects_archives(table: str) -> None:
    found = problem(f'{table}\nmodel = "tony"\n')
    assert (found.rule, found.location) == ("unknown-archive", "archives.toml:5")
    assert "'tiny'" in found.hint


@pytest.mark.parametrize(
    "path", ["prediction", "/a b", "/a?b", "/", "//a", "/models/x", "/v2", "/tiny/predict", "/docs"]
)
def test_a_path_is_one_that_the_gateway_does_not_answer_itself(path: str) -> None:
    found = problem(f'[gateway.routes."{path}"]\nmodel = "tiny"\n')
    assert (found.rule, found.location) == ("gateway-path", "archives.toml:4")


def test_an_unknown_model_of_a_wrong_archive_is_told_by_that_archive_alone() -> None:
    spec = parse_spec(f"[archives.tiny]\n{ROUTE}")
    assert {one.rule for one in spec.problems} == {"missing-key"}


def test_one_path_is_a_route_or_a_redirect() -> None:
    found = problem(ROUTE + '[gateway.redirects]\n"/prediction" = "/docs"\n')
    assert (found.rule, found.location) == ("gateway-path", "archives.toml:7")


@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("/s", ""),
        ("/t", '"/t" = "/docs"\n'),
        ("https://other.example/", ""),
        ("//other.example/", ""),
        ("docs", ""),
    ],
)
def test_a_redirect_leads_to_a_path_that_answers(target: str, more: str) -> None:
    found = problem(f'[gateway.redirects]\n"/s" = "{target}"\n{more}')
    assert (found.rule, found.location) == ("gateway-path", "archives.toml:5")


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "X-Request-Id"])
def test_a_route_sets_no_header_of_the_servers(name: str) -> None:
    found = problem(f'{ROUTE}headers = {{ {name} = "3" }}\n')
    assert (found.rule, found.location) == ("spec-value", "archives.toml:6")


def test_a_failure_may_name_what_is_known_of_it() -> None:
    known = 'failure = { status = 400, body = { message = "${message} ${hint} ${code}" } }\n'
    assert parse_spec(minimal_spec(ROUTE + known)).problems == ()
    found = problem(ROUTE + 'missing = { status = 400, body = "${massage}" }\n')
    assert (found.rule, found.location) == ("placeholder", "archives.toml:6")
    assert "'message'" in found.hint


@pytest.mark.parametrize(
    "more",
    [
        "ttl = 0",
        "lease = 1",
        'quota = "many"',
        's3 = "bucket"',
        's3 = "s3://bucket"',
        's3 = "s3://bucket/"',
        'sqs = "queue"',
        'webhook_hosts = ["https://a.example"]',
        "webhook_pauses = [-1]",
    ],
)
def test_a_wrong_value_of_jobs_is_found_on_its_line(more: str) -> None:
    found = problem(f"[gateway.jobs]\n{more}\n")
    assert (found.rule, found.location) == ("spec-value", "archives.toml:5")
    assert "header" not in found.message
