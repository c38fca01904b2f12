"""marsmith/project/toml_lines.py."""

from __future__ import annotations

import pytest

from marsmith.project.toml_lines import Path, TomlLines

TEXT = """\
title = "x"

[archives.one]  # a comment
version = "1"
serving.batchSize = 3
extra_files = [
    "a",
    "b=c",
]

[archives."two.x"]
'quoted key' = 1

[[archives.one.samples]]
request = "a"

[[archives.one.samples]]
request = "b"

[archives.one.samples.more]
inner = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 1),
        (("archives", "one"), 3),
        (("archives", "one", "version"), 4),
        (("archives", "one", "serving", "batchSize"), 5),
        (("archives", "one", "extra_files"), 6),
        (("archives", "two.x"), 11),
        (("archives", "two.x", "quoted key"), 12),
        (("archives", "one", "samples", 0), 14),
        (("archives", "one", "samples", 0, "request"), 15),
        (("archives", "one", "samples", 1), 17),
        (("archives", "one", "samples", 1, "request"), 18),
        (("archives", "one", "samples", 1, "more"), 20),
        (("archives", "one", "samples", 1, "more", "inner"), 21),
    ],
)
def test_each_table_and_key_has_its_line(path: Path, line: int) -> None:
    assert TomlLines(TEXT).find(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("archives", "one", "missing"), 3),
        (("archives", "one", "extra_files", 9), 6),
        (("archives", "one", "samples", 1, "response"), 17),
        (("archives", "one", "samples"), 14),
    ],
)
def test_what_has_no_line_gets_that_of_the_nearest_table_around_it(path: Path, line: int) -> None:
    assert TomlLines(TEXT).find(path) == line


def test_what_is_nowhere_has_no_line() -> None:
    assert TomlLines(TEXT).find(("nothing",)) is None
    assert TomlLines("").find(("a", "b")) is None


def test_text_within_a_multi_line_string_is_no_table() -> None:
    text = "[a]\nprompt = '''\n[b]\nkey = 1\n'''\nafter = 2\n"
    lines = TomlLines(text)
    assert (lines.find(("b", "key")), lines.find(("a", "after"))) == (None, 6)


def test_only_a_line_feed_ends_a_line() -> None:
    lines = TomlLines("# one\u2028still one, \x85 and on\na = 1\r\nb = 2\n")
    assert (lines.find(("a",)), lines.find(("b",))) == (2, 3)


def test_the_items_of_an_array_have_lines_of_their_own() -> None:
    text = """\
[table]
files = [
    # [header]
    "a", 'b',  # "c"
    "d # no comment",
    { x = 1, y = 2 }, [1,
    2],
    "e"]
after = 1
short = ["a", "b"]
"""
    lines = TomlLines(text)
    found = [lines.find(("table", "files", index)) for index in range(7)]
    assert found == [4, 4, 5, 6, 6, 8, 2]
    assert (lines.find(("table", "after")), lines.find(("table", "short", 1))) == (9, 10)
