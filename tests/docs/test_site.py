"""The site is built from the pages, without a warning."""

from __future__ import annotations

import subprocess

from tests.docs.pages import ROOT, pages


def test_the_site_has_every_page() -> None:
    result = subprocess.run(
        [ROOT / "scripts/docs"], capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    site = ROOT / "docs/_build/html"
    names = [one.name for one in pages() if one.name.startswith("docs/")]
    missing = [name for name in names if not (site / name[5:-3]).with_suffix(".html").exists()]
    assert missing == []
