from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.init.class_names import read_classes


def test_names_are_separated_by_commas() -> None:
    assert read_classes("red, dark green ,Tür") == ("red", "dark green", "Tür")


def test_a_file_has_one_name_a_line(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffcat, tabby\r\ndog\n\n", encoding="utf-8")
    assert read_classes(str(tmp_path / "names.txt")) == ("cat, tabby", "dog")


@pytest.mark.parametrize("text", ["", ",", "a,", ",a", "a,  ,b"])
def test_every_class_has_a_name(text: str) -> None:
    with pytest.raises(ProjectError) as error:
        read_classes(text)
    assert error.value.code == "class-name-empty"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a\n\nb\n"])
def test_every_line_has_a_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ProjectError) as error:
        read_classes(str(tmp_path / "names.txt"))
    assert error.value.code == "class-name-empty"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_must_be_readable(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ProjectError) as error:
        read_classes(str(tmp_path / "names.txt"))
    assert error.value.code == "classes-unreadable"
