"""Links, anchors and paths in the documentation lead somewhere."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

from tests.docs.pages import ROOT, Page, page, pages
from tests.unit.test_layers import ROOMS

PAGES = pages()
_OF_THE_KIT = re.compile(
    r"(marsmith|marsmith_handlers|scripts|tests|bench|monitoring|docs)/[\w./-]+"
)
_MODULE = re.compile(rf"({'|'.join(ROOMS)})/\w+\.py")


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_links_lead_to_a_file_and_a_heading(one: Page) -> None:
    for link in one.links():
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (one.path.parent / file).resolve() if file else one.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(target).anchors(), link


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_paths_that_are_named_exist(one: Page) -> None:
    for span in one.spans():
        path = span.split(" ")[0].split("::")[0]
        if _MODULE.fullmatch(path):
            assert (ROOT / "marsmith" / path).exists(), span
        elif _OF_THE_KIT.fullmatch(path) and "NAME" not in path:
            assert (ROOT / path).exists() or (ROOT / "handlers" / path).exists(), span


def test_every_page_is_in_the_contents_of_the_site() -> None:
    listed = re.findall(r"^[\w/*-]+$", page("docs/index.md").text, re.MULTILINE)
    written = [one.name[5:-3] for one in PAGES if one.name.startswith("docs/")]
    left = [name for name in written if not any(fnmatch(name, pattern) for pattern in listed)]
    assert left == ["index"]


def test_the_architecture_names_the_rooms_in_their_order() -> None:
    table = page("docs/explanation/architecture.md").text.partition("## The rooms")[2]
    named = re.findall(r"^\| `(\w+)` \|", table.partition("## ")[0], re.MULTILINE)
    assert named == ROOMS


def test_moved_imports_lead_to_modules() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| `([\w.]+)` \|$", page("docs/reference/moved-imports.md").text, re.M
    )
    assert len(rows) > 100
    for old, new in rows:
        assert (ROOT / new.replace(".", "/")).with_suffix(".py").exists(), (old, new)
