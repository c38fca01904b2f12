"""What is written into a spec; tests/integration/test_sample.py records."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from marsmith.building.record_samples import _sample, with_sample
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
    changed = with_sample(text, name, sample)
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
    assert changed == TEXT.replace(
        "tolerance = 1e-3  # fine", "tolerance = 0.02  # fine\nlargest = 0.5"
    )


def test_samples_in_a_list_get_one_more() -> None:
    text = TEXT.replace('version = "2"', 'version = "2"\nsamples = []  # none yet')
    changed = added("b", SampleSpec("x", "y"), text)
    assert "# none yet" in changed
    again = added("b", SampleSpec("z", "y", 0.5), changed)
    assert len(spec("b", again).samples) == 2
    added("a", SampleSpec("x", "y"), text)


def test_what_cannot_be_changed_is_an_error() -> None:
    text = '[archives]\nb = { version = "1", handler = "h.py" }\n'
    with pytest.raises(ProjectError) as caught:
        with_sample(text, "b", SampleSpec("x", "y"))
    assert caught.value.code == "spec-not-editable"


def test_the_kind_of_a_picture_stands_in_the_spec_and_can_be_changed() -> None:
    changed = added("b", SampleSpec("x.png", "y.png", 0.0, kind="data"))
    assert 'kind = "data"' in changed
    again = added("b", SampleSpec("x.png", "y.png", 0.01, kind="picture"), changed)
    assert spec("b", again).samples[0].kind == "picture"


@pytest.mark.parametrize(
    ("known", "kind", "expected"),
    [
        (None, None, ("data", 0.0)),
        (None, "picture", ("picture", 0.01)),
        (SampleSpec("mask.png", "out.png", 0.01), None, ("data", 0.0)),
        (SampleSpec("mask.png", "out.png", 0.02, kind="data"), None, ("data", 0.02)),
        (SampleSpec("mask.png", "out.png", 0.03, kind="picture"), None, ("picture", 0.03)),
        (SampleSpec("mask.png", "out.png", 0.03, kind="picture"), "data", ("data", 0.0)),
    ],
)
def test_a_tolerance_for_shades_is_not_kept_for_data(
    known: SampleSpec | None, kind: str | None, expected: tuple[str, float]
) -> None:
    mask = io.BytesIO()
    Image.new("L", (16, 16), 3).save(mask, "PNG")
    found = _sample("tiny", "mask.png", mask.getvalue(), known, None, None, kind)
    assert (found.kind, found.tolerance) == expected


@pytest.mark.parametrize("name", ["a", "b"])
def test_what_a_request_is_sent_with_stands_in_the_spec(name: str) -> None:
    typed = "multipart/form-data; boundary=b"
    sample = SampleSpec("a.form", "a.png", content_type=typed, headers={"X-A": "1, 2"})
    changed = with_sample(TEXT, name, sample)
    assert spec(name, changed).samples[-1] == sample
    again = replace(sample, headers={"X-B": "3"})
    assert spec(name, with_sample(changed, name, again)).samples[-1] == again
