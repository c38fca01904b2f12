"""What archives tell of the forms that their models take and give."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from marsmith.archive.reader import Archive
from marsmith.gateway.document.bodies import Body, FormField, media_type
from marsmith.gateway.document.forms import Forms, forms_of, read_forms
from tests.unit.gateway.kserve.archives import archive

JPG = b"\xff\xd8\xff"
FORM = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'


def mask() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (20, 20)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (JPG, "image/jpeg"),
        (mask(), "image/png"),
        (b'{"a": 1}', "application/json"),
        (b"seven\n", "text/plain"),
        (b"\x80\x81", "application/octet-stream"),
        (b"a\0b", "application/octet-stream"),
        (b"<svg onload='alert(1)'/>", "text/plain"),
    ],
)
def test_what_a_body_is_its_bytes_tell(body: bytes, kind: str) -> None:
    assert media_type(body) == kind


@pytest.mark.parametrize(
    ("given", "pictures", "request_body", "answer"),
    [
        ((JPG, b"[1]"), True, Body("image/jpeg"), Body("application/json", [1])),
        ((b"{}", b"a"), False, Body("application/json", {}), Body("text/plain", "a")),
        ((JPG, mask()), True, Body("image/jpeg"), Body("image/png", is_mask=True)),
    ],
)
def test_forms_are_those_of_the_samples(
    tmp_path: Path,
    given: tuple[bytes, bytes],
    pictures: bool,
    request_body: Body,
    answer: Body,
) -> None:
    forms = read_forms(archive(tmp_path, *given))
    assert (forms.pictures, forms.ours, forms.small) == (pictures, False, False)
    (example,) = forms.examples
    assert (example.request, example.answer, example.accept) == (request_body, answer, "*/*")


def test_a_form_keeps_its_own_type(tmp_path: Path) -> None:
    told = "multipart/form-data; boundary=b"
    forms = read_forms(archive(tmp_path, FORM, content_type=told))
    assert forms.examples[0].request == Body(told, fields=(FormField("a", False, "1"),))


@pytest.mark.parametrize(
    ("config", "small"),
    [
        ({"size": [28, 28]}, True),
        ({"size": [2048, 512]}, False),
        ({"longest_side": 1024}, True),
        ({"longest_side": 1333}, False),
        ({}, False),
        (None, False),
    ],
)
def test_what_a_model_sees_its_configuration_tells(
    tmp_path: Path, config: Any, small: bool
) -> None:
    made = archive(tmp_path, JPG)
    manifest = tmp_path / "MAR-INF" / "MANIFEST.json"
    values = json.loads(manifest.read_bytes())
    values["model"]["configFile"] = "model-config.yaml"
    manifest.write_text(json.dumps(values))
    (tmp_path / "model-config.yaml").write_text(json.dumps({"handler_config": config}))
    assert read_forms(Archive(made.path)).small is small


def test_an_archive_elsewhere_or_unreadable_tells_nothing(tmp_path: Path) -> None:
    made = archive(tmp_path, JPG)
    (tmp_path / "samples" / "samples.json").write_text("[")
    assert asyncio.run(forms_of(made)) == Forms()
    assert asyncio.run(forms_of(None)) == Forms()
