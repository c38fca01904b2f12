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
        (("archives", "one", "extra_files", 1), 6),
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
