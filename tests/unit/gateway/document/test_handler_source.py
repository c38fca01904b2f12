"""What the source of an archive's handler tells of its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.gateway.document.forms import read_forms
from marsmith.gateway.document.handler_source import offered, reads_exif
from tests.integration.kit import ROOT
from tests.unit.gateway.kserve.archives import archive

KIT = ROOT / "handlers" / "marsmith_handlers"
JSON, TEXT = "application/json", "text/plain"
PICTURES = ("image/jpeg", "image/png", "image/webp")


@pytest.mark.parametrize(
    ("handler", "kinds", "exif"),
    [
        ("rotation_corrector.py", (JSON, *PICTURES, TEXT), True),
        ("digit_classifier.py", (JSON, TEXT), False),
        ("marsmith_handlers/image_to_image.py", (*PICTURES, JSON), False),
        ("marsmith_handlers/object_detector.py", (JSON, *PICTURES), False),
    ],
)
def test_a_handler_of_the_kit_tells_its_answers(
    tmp_path: Path, handler: str, kinds: tuple[str, ...], exif: bool
) -> None:
    (tmp_path / "h.py").write_bytes((ROOT / "handlers" / handler).read_bytes())
    (tmp_path / "marsmith_handlers").mkdir()
    for module in KIT.glob("*.py"):
        (tmp_path / "marsmith_handlers" / module.name).write_bytes(module.read_bytes())
    made = archive(tmp_path, b"a", ours=True)
    assert (offered(made), reads_exif(made)) == (kinds, exif)
    assert read_forms(made).offered == kinds


def test_other_handlers_tell_nothing(tmp_path: Path) -> None:
    assert read_forms(archive(tmp_path, b"a")).offered == ()
