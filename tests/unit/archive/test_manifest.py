"""marsmith/archive/manifest.py."""

from __future__ import annotations

import json

import pytest

from marsmith.archive.manifest import Manifest, normalised_manifest, parse_manifest
from marsmith.core.errors import ArchiveError
from tests.codes import coded

TEXT = json.dumps(
    {
        "createdOn": "21/11/2026 00:10:31",
        "runtime": "python3",
        "model": {
            "modelName": "tiny",
            "serializedFile": "net.pth",
            "handler": "handler.py",
            "modelFile": "net.py",
            "modelVersion": "1.0",
            "requirementsFile": "requirements.txt",
            "configFile": "model-config.yaml",
        },
        "archiverVersion": "0.12.0",
    }
)


def test_every_key_is_read() -> None:
    assert parse_manifest(TEXT) == Manifest(
        model_name="tiny",
        model_version="1.0",
        handler="handler.py",
        model_file="net.py",
        serialized_file="net.pth",
        requirements_file="requirements.txt",
        config_file="model-config.yaml",
        runtime="python3",
    )


def test_a_name_and_a_handler_are_enough() -> None:
    manifest = parse_manifest(b'{"model": {"modelName": "a", "handler": "base_handler"}}')
    assert manifest == Manifest("a", None, "base_handler")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", "{}", '{"model": []}', '{"model": {"handler": "a"}}', b"\xff\xfe"],
)
def test_anything_else_is_an_archive_error_with_a_next_step(text: str | bytes) -> None:
    with pytest.raises(ArchiveError, check=coded("manifest-unreadable")) as caught:
        parse_manifest(text)
    assert "MAR-INF/MANIFEST.json" in caught.value.message
    assert "marsmith build" in caught.value.hint


def test_the_hint_names_the_archive() -> None:
    with pytest.raises(ArchiveError) as caught:
        parse_manifest("{", "tiny")
    assert caught.value.hint.endswith("marsmith build tiny")


def test_only_the_date_and_the_order_of_keys_are_changed() -> None:
    written = normalised_manifest(TEXT, "01/01/1980 00:00:00")
    assert json.loads(written) == json.loads(TEXT) | {"createdOn": "01/01/1980 00:00:00"}
    assert list(json.loads(written)) == sorted(json.loads(TEXT))
    assert written.endswith(b"}\n")


def test_the_order_of_keys_in_the_original_does_not_matter() -> None:
    values = json.loads(TEXT)
    turned = json.dumps(dict(reversed(values.items())))
    assert normalised_manifest(turned, "x") == normalised_manifest(TEXT, "x")
