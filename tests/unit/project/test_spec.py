"""marsmith/project/spec.py."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from marsmith.core.findings import Finding, FindingsError
from marsmith.core.suggestions import did_you_mean
from marsmith.project.spec import DEFAULT_HANDLERS, ArchiveSpec, parse_spec
from tests.projects import SPEC, minimal_spec


def problems(text: str) -> list[Finding]:
    try:
        return list(parse_spec(text).problems)
    except FindingsError as error:  # no TOML at all
        return list(error.findings)


def problem(text: str) -> Finding:
    (only,) = problems(text)
    return only


def test_a_whole_spec_is_read() -> None:
    spec = parse_spec(SPEC).archives["tiny"]
    assert spec.name == "tiny"
    assert spec.version == "1.0"
    assert spec.extra_files == ("handlers/helper.py", "extra")
    assert spec.serving["batchSize"] == 4
    assert spec.samples[0].request == "proof/one.bin"
    assert spec.samples[0].tolerance == 1e-3


def test_lines_are_found_by_name_and_key() -> None:
    spec = parse_spec(SPEC)
    assert spec.line("tiny", "version") == 2
    assert spec.line("tiny", "serving", "batchSize") == 11
    assert spec.line("tiny", "samples", 0, "request") == 17


def test_what_is_left_out_keeps_torchserves_default() -> None:
    spec = parse_spec(minimal_spec()).archives["tiny"]
    assert spec.model_config_values() == {}
    assert (spec.runtime, spec.archive_format, spec.extra_files) == ("python", None, ())


def test_model_config_holds_the_serving_keys_and_the_handlers_own_table() -> None:
    assert parse_spec(SPEC).archives["tiny"].model_config_values() == {
        "minWorkers": 1,
        "batchSize": 4,
        "handler_config": {"size": [28, 28]},
    }


def test_metrics_travel_in_the_model_config() -> None:
    spec = parse_spec(minimal_spec("metrics = { test_acc = 0.97, epochs = 8 }\n"))
    metrics = {"test_acc": 0.97, "epochs": 8.0}
    assert spec.archives["tiny"].model_config_values() == {"metrics": metrics}


@pytest.mark.parametrize("value", ['"0.9"', "nan", "true"])
def test_a_metric_is_a_finite_number(value: str) -> None:
    found = problem(minimal_spec(f"metrics = {{ test_acc = {value} }}\n"))
    assert (found.rule, found.line) == ("spec-value", 4)


def test_specs_are_frozen() -> None:
    spec = parse_spec(SPEC).archives["tiny"]
    with pytest.raises(FrozenInstanceError):
        spec.version = "2"  # type: ignore[misc]


@pytest.mark.parametrize("name", DEFAULT_HANDLERS)
def test_a_default_handler_has_no_file(name: str) -> None:
    assert ArchiveSpec(name="x", version="1", handler=name).handler_file is None


def test_a_handler_may_name_an_entry_point() -> None:
    spec = ArchiveSpec(name="x", version="1", handler="a/b.py:predict")
    assert (spec.handler_file, spec.entry_point) == ("a/b.py", "predict")
    plain = ArchiveSpec(name="x", version="1", handler="a/b.py")
    assert (plain.handler_file, plain.entry_point) == ("a/b.py", None)


@pytest.mark.parametrize(
    ("text", "key", "meant", "line"),
    [
        (f"{minimal_spec()}[archive.more]\nversion = 1\n", "archive", "archives", 4),
        (minimal_spec('modle_file = "a"\n'), "modle_file", "model_file", 4),
        (minimal_spec("[archives.tiny.serving]\nbatchSise = 3\n"), "batchSise", "batchSize", 5),
        (
            minimal_spec('[[archives.tiny.samples]]\nrequest = "a"\nresponse = "b"\ntolerence = 1'),
            "tolerence",
            "tolerance",
            7,
        ),
        (minimal_spec("[archives.tiny.servin]\nbatchSize = 3\n"), "servin", "serving", 4),
    ],
)
def test_a_misspelt_key_is_found_at_every_level(text: str, key: str, meant: str, line: int) -> None:
    found = problem(text)
    assert (found.rule, found.location) == ("unknown-key", f"archives.toml:{line}")
    assert repr(key) in found.message
    assert repr(meant) in found.hint


def test_a_key_like_no_other_lists_the_known_ones_without_the_tables_own_name() -> None:
    found = problem(minimal_spec("qqq = 1\n"))
    assert found.rule == "unknown-key"
    assert "version, handler, model_file" in found.hint
    assert " name" not in found.hint


@pytest.mark.parametrize("text", ["", "# nothing\n", "[archives]\n"])
def test_a_file_without_archives_says_what_to_write(text: str) -> None:
    found = problem(text)
    assert (found.rule, found.file) == ("no-archives", "archives.toml")


def test_missing_keys_are_reported_on_the_tables_line() -> None:
    found = problems("\n[archives.tiny]\n")
    assert [(one.rule, one.line) for one in found] == [("missing-key", 2), ("missing-key", 2)]
    assert "'version'" in found[0].message
    assert "'handler'" in found[1].message


def test_a_missing_key_of_the_second_sample_is_reported_on_its_line() -> None:
    sample = '[[archives.tiny.samples]]\nrequest = "a"\n'
    found = problem(minimal_spec(sample + 'response = "b"\n' + sample))
    assert (found.rule, found.line) == ("missing-key", 7)
    assert "'response'" in found.message


@pytest.mark.parametrize(
    ("more", "key", "line"),
    [
        ('extra_files = "one.py"\n', "extra_files", 4),
        ("extra_files = [\n1]\n", "extra_files", 5),
        ("handler_config = 3\n", "handler_config", 4),
        ("serving = 3\n", "serving", 4),
        ('[archives.tiny.samples]\nrequest = "a"\nresponse = "b"\n', "samples", 4),
        ('runtime = "LSP"\n', "runtime", 4),
        ('archive_format = "tgz"\n', "archive_format", 4),
        ("model_file = true\n", "model_file", 4),
        ('[archives.tiny.serving]\nbatchSize = "3"\n', "batchSize", 5),
        ("[archives.tiny.serving]\nbatchSize = 0\n", "batchSize", 5),
        ("[archives.tiny.serving]\nbatchSize = true\n", "batchSize", 5),
        ("[archives.tiny.serving]\nbatchSize = 1.5\n", "batchSize", 5),
        ("[archives.tiny.serving]\nminWorkers = -1\n", "minWorkers", 5),
        ('[archives.tiny.serving]\nuseVenv = "yes"\n', "useVenv", 5),
        ('[archives.tiny.serving]\ndeviceIds = [0, "a"]\n', "deviceIds", 5),
        ('[archives.tiny.serving]\ndeviceType = "tpu"\n', "deviceType", 5),
    ],
)
def test_a_value_of_the_wrong_type_is_found_on_its_line(more: str, key: str, line: int) -> None:
    found = problem(minimal_spec(more))
    assert (found.rule, found.location) == ("spec-value", f"archives.toml:{line}")
    assert key in found.message


@pytest.mark.parametrize(
    "text",
    [
        minimal_spec('extra_files = "one.py"\n'),
        minimal_spec("serving = 3\n"),
        "archives = 3\n",
        "[archives]\ntiny = 3\n",
    ],
)
def test_types_are_named_as_toml_names_them_not_as_python_does(text: str) -> None:
    found = problem(text)
    assert not any(word in found.message for word in ("tuple", "dictionary", "instance of"))


@pytest.mark.parametrize("value", ['"0.1"', "true", "-1", "nan"])
def test_a_tolerance_is_a_number_of_at_least_zero(value: str) -> None:
    sample = '[[archives.tiny.samples]]\nrequest = "a"\nresponse = "b"\n'
    found = problem(minimal_spec(f"{sample}tolerance = {value}\n"))
    assert (found.rule, found.line) == ("spec-value", 7)
    assert "'tolerance'" in found.message


def test_a_version_that_is_a_number_is_written_out_as_text() -> None:
    found = problem('[archives.tiny]\nversion = 1.0\nhandler = "h.py"\n')
    assert (found.rule, found.line) == ("spec-value", 2)
    assert 'version = "1.0"' in found.hint


def test_an_empty_version_is_refused() -> None:
    """torch-model-archiver drops it, and an archive without a version cannot be served."""
    found = problem('[archives.tiny]\nversion = ""\nhandler = "h.py"\n')
    assert (found.rule, found.line) == ("spec-value", 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[archives.tiny\n", 1),
        ('[archives.tiny]\nversion = "1\n', 2),
        (minimal_spec() + minimal_spec(), 4),
        (minimal_spec("x y\n"), 4),
        (minimal_spec('version = "2"\n'), 4),
    ],
)
def test_text_that_is_not_toml_is_reported_with_its_line(text: str, line: int) -> None:
    found = problem(text)
    assert found.rule == "spec-syntax"
    assert "(at line" not in found.message
    assert found.line == line


def test_an_array_that_never_ends_is_reported_at_the_end() -> None:
    found = problem(minimal_spec('extra_files = ["a"\n'))
    assert (found.rule, found.location) == ("spec-syntax", "archives.toml:4")


def test_what_is_sound_is_read_beside_what_is_not() -> None:
    spec = parse_spec(minimal_spec() + '[archives."a b"]\nversion = 1\n')
    assert list(spec.archives) == ["tiny"]
    assert [found.line for found in spec.problems] == [4, 4, 5]


def test_all_problems_are_reported_at_once_each_on_its_line() -> None:
    text = """\
[archives.one]
version = 1
handlr = "a.py"

[archives.two]
version = "1"
handler = "b.py"

[archives.two.serving]
batchSize = 0

[[archives.two.samples]]
request = "a"
"""
    assert sorted((one.line, one.rule) for one in problems(text)) == [
        (1, "missing-key"),
        (2, "spec-value"),
        (3, "unknown-key"),
        (10, "spec-value"),
        (12, "missing-key"),
    ]


@pytest.mark.parametrize("name", ["digits", "a", "0", "a-b_c.d", "A1"])
def test_names_of_letters_digits_and_a_few_signs_are_allowed(name: str) -> None:
    assert list(parse_spec(minimal_spec().replace("tiny", f'"{name}"')).archives) == [name]


@pytest.mark.parametrize("name", ["", "a b", "-a", ".a", "_a", "ä", "a/b", "../a", "a:b", "a\\n"])
def test_other_names_are_refused_on_their_line(name: str) -> None:
    found = problem("\n" + minimal_spec().replace("tiny", f'"{name}"'))
    assert found.rule == "archive-name"
    assert found.line == 2


def test_a_name_key_is_refused() -> None:
    found = problem(minimal_spec('name = "other"\n'))
    assert (found.line, found.rule) == (4, "unknown-key")


def test_a_hint_names_the_closest_or_lists_all_or_says_there_is_none() -> None:
    assert did_you_mean("digit", ["digits", "other"]) == "did you mean 'digits'?"
    assert did_you_mean("x", ["digits", "other"]) == "known: digits, other"
    assert did_you_mean("x", []) == "known: none"
