"""Single values of a TOML text change, and nothing else of it does."""

from __future__ import annotations

import sys

import pytest

from marsmith.project.toml_editor import Value, with_entry, with_items, with_values

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = """\
# All of it.

[archives.digits]  # the first
version = "1.0"  # of the model
model_file = "model_defs/net.py"
extra_files = [
    "a.py",  # why
    "b.py",
]

# How it is served.
[archives.digits.serving]
batchSize = 32# measured
  maxBatchDelay=2

# Another one.
[archives."di.gits"]
version = "1.0"
extra_files = ["a.py"]
"""
SERVING = ("archives", "digits", "serving")


def test_values_change_where_they_stand() -> None:
    changed = with_values(TEXT, SERVING, {"batchSize": 8, "maxBatchDelay": 20, "minWorkers": 2})
    expected = TEXT.replace("batchSize = 32# measured", "batchSize = 8# measured")
    expected = expected.replace("  maxBatchDelay=2\n", "  maxBatchDelay=20\nminWorkers = 2\n")
    assert changed == expected


def test_a_table_that_is_new_comes_behind_its_archives_others() -> None:
    changed = with_values(TEXT, ("archives", "digits", "handler_config"), {"engine": "eager"})
    added = '  maxBatchDelay=2\n\n[archives.digits.handler_config]\nengine = "eager"\n'
    assert changed == TEXT.replace("  maxBatchDelay=2\n", added)
    assert with_values(TEXT, ("archives", "digits", "none"), {"key": None}) == TEXT
    dotted = with_values(TEXT, ("archives", "di.gits", "serving"), {"batchSize": 1})
    assert dotted == TEXT + '\n[archives."di.gits".serving]\nbatchSize = 1\n'


def test_a_key_is_taken_out() -> None:
    changed = with_values(TEXT, SERVING[:2], {"model_file": None, "handler": None})
    assert changed == TEXT.replace('model_file = "model_defs/net.py"\n', "")


@pytest.mark.parametrize("value", ['a "b" # \\ é', 1, 1.5, True, "x"])
def test_whatever_is_written_reads_back(value: Value) -> None:
    changed = with_values(TEXT, SERVING, {"batchSize": value, "new": value})
    serving = tomllib.loads(changed)["archives"]["digits"]["serving"]
    assert (serving["batchSize"], serving["new"]) == (value, value)


@pytest.mark.parametrize("name", ["digits", "di.gits"])
def test_a_list_gets_more_items(name: str) -> None:
    changed = with_items(TEXT, ("archives", name), "extra_files", ["c.py", "d.py"])
    before = tomllib.loads(TEXT)["archives"][name]["extra_files"]
    assert tomllib.loads(changed)["archives"][name]["extra_files"] == [*before, "c.py", "d.py"]
    assert with_items(TEXT, ("archives", name), "extra_files", []) == TEXT


def test_a_list_that_is_not_there_is_made() -> None:
    changed = with_items(TEXT, ("archives", "digits"), "more", ["c.py"])
    assert tomllib.loads(changed)["archives"]["digits"]["more"] == ["c.py"]


def test_an_inline_table_changes_within_its_line() -> None:
    text = "[archives.a]\nserving = { batchSize = 3 }  # all\n"
    changed = with_values(text, ("archives", "a", "serving"), {"batchSize": 4, "minWorkers": 1})
    assert tomllib.loads(changed)["archives"]["a"]["serving"] == {"batchSize": 4, "minWorkers": 1}
    assert changed.endswith("}  # all\n")


def test_tables_that_stand_apart_can_be_changed() -> None:
    text = "[archives.a]\nx = true\n[archives.b]\ny = 1\n[archives.a.serving]\nz = 1"
    for name, table in (("serving", {"z": 2, "w": 3}), ("handler_config", {"size": 4})):
        changed = with_values(text, ("archives", "a", name), table)
        found = tomllib.loads(changed)["archives"]
        assert (found["a"][name], found["a"]["x"], found["b"]) == (table, True, {"y": 1})
    own = tomllib.loads(with_values(text, ("archives", "a"), {"new": 1}))["archives"]
    assert (own["a"]["new"], own["b"]) == (1, {"y": 1})


ENTRIES = """\
[[archives.a.samples]]  # first
request = "one"
tolerance = 1e-3  # fine

[[archives.a.samples]]
request = "two"

# the other
[archives.b]
version = "1"
"""


def test_an_entry_of_a_list_is_known_by_one_of_its_values() -> None:
    path = ("archives", "a", "samples")
    defaults: dict[str, Value] = {"tolerance": 1e-3}
    same: dict[str, Value] = {"request": "two", "tolerance": 1e-3}
    assert with_entry(ENTRIES, path, "request", same, defaults) == ENTRIES
    values: dict[str, Value] = {"request": "one", "tolerance": 0.5}
    changed = with_entry(ENTRIES, path, "request", values, defaults)
    assert changed == ENTRIES.replace("1e-3", "0.5")


def test_an_entry_that_is_new_comes_behind_the_others() -> None:
    values: dict[str, Value] = {"request": "three", "tolerance": 0.5}
    path = ("archives", "a", "samples")
    changed = with_entry(ENTRIES, path, "request", values, {})
    new = '[[archives.a.samples]]\nrequest = "three"\ntolerance = 0.5\n'
    assert changed == ENTRIES.replace("# the other", f"{new}\n# the other")
    first = with_entry(ENTRIES, ("archives", "b", "samples"), "request", values, {})
    assert first == ENTRIES + f"\n{new.replace('.a.', '.b.')}"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_other_characters_stay(ending: str) -> None:
    text = TEXT.replace("\n", ending)
    changed = with_values(text, SERVING, {"batchSize": 8})
    assert changed == text.replace("= 32", "= 8")
