from __future__ import annotations

import pytest

from marsmith.core.errors import ProjectError
from marsmith.init.spec_table import with_archive
from marsmith.project.spec import parse_spec

VALUES = {
    "version": "1.0",
    "handler": "handlers/a.py",
    "extra_files": ["names.json"],
    "serving": {"minWorkers": 1},
    "handler_config": {"comments": ["Not sure."], "size": [8, 8]},
}
MINE = """\
# mine
[archives.old]  # an old one
version = '1'
handler = "h.py"

[archives.old.serving]
batchSize = 2
# the end
"""


def test_a_table_is_written() -> None:
    text = with_archive(None, "new", VALUES)
    spec = parse_spec(text).archives["new"]
    assert spec.handler_config == {"size": [8, 8]}
    assert spec.extra_files == ("names.json",)
    assert "[archives.new.handler_config]\n# Not sure.\nsize = [8, 8]\n" in text


def test_what_stands_there_stays() -> None:
    text = with_archive(MINE, "a.b", VALUES)
    assert text.startswith(MINE)
    parsed = parse_spec(text)
    assert (list(parsed.archives), parsed.problems) == (["old", "a.b"], ())


def test_an_archive_with_problems_stays_as_it_is() -> None:
    text = with_archive(MINE + "size = 1\n", "new", VALUES)
    assert list(parse_spec(text).archives) == ["new"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (MINE, "archive-exists"),
        ("[archives", "spec-syntax"),
        ("archives = {}", "spec-not-editable"),
    ],
)
def test_what_cannot_be_added_to_is_refused(text: str, code: str) -> None:
    with pytest.raises(ProjectError) as error:
        with_archive(text, "old", VALUES)
    assert error.value.code == code
