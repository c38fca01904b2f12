"""What is written into a spec; tests/integration/test_sample.py records."""

from __future__ import annotations

import pytest

from marsmith.building.record_samples import with_sample
from marsmith.core.errors import ProjectError
from marsmith.project.spec import ArchiveSpec, SampleSpec, parse_spec

TEXT = """\
# ours
[archives.a]
version = "1"
handler = "h.py"

[[archives.a.samples]]  # the first
request = "one.png"
response = "one.json"
tolerance = 1e-3  # fine

# the other
[archives.b]
version = "2"
handler = "h.py"
"""


def spec(name: str, text: str = TEXT) -> ArchiveSpec:
    return parse_spec(text).archives[name]


def added(name: str, sample: SampleSpec, text: str = TEXT) -> str:
    changed = with_sample(text, spec(name, text), sample)
    assert sample in parse_spec(changed).archives[name].samples
    return changed


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_new_sample_is_a_table_of_its_archive(name: str) -> None:
    changed = added(name, SampleSpec("two.png", "two.json", 0.5))
    assert set(TEXT.splitlines()) <= set(changed.splitlines())
    assert len(spec(name, changed).samples) == len(spec(name).samples) + 1
    other = "b" if name == "a" else "a"
    assert spec(other, changed) == spec(other)


def test_a_known_sample_changes_its_tolerances_alone() -> None:
    assert added("a", SampleSpec("one.png", "one.json", 1e-3)) == TEXT
    changed = added("a", SampleSpec("one.png", "one.json", 0.02, 0.5))
    assert changed == TEXT.replace("tolerance = 1e-3  # fine", "tolerance = 0.02\nlargest = 0.5")


def test_samples_written_within_a_line_are_left_alone() -> None:
    text = TEXT.replace('version = "2"', 'version = "2"\nsamples = []')
    with pytest.raises(ProjectError, match="cannot be added") as caught:
        with_sample(text, spec("b", text), SampleSpec("x", "y"))
    assert "[[archives.b.samples]]" in caught.value.hint
    added("a", SampleSpec("x", "y"), text)
