"""marsmith/archive/requirements.py: what pip would install, and what of it is here."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from marsmith.archive.requirements import (
    Requirement,
    declared,
    foreign_sources,
    included_files,
    requirement_lines,
)

NUMPY = metadata.version("numpy")


def install(folder: Path, name: str, version: str, *more: str) -> None:
    """Put a distribution's metadata into a folder, as installers do."""
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *more]
    (place / "METADATA").write_text("\n".join(lines) + "\n")


def licences(line: str) -> list[str | None]:
    found = Requirement(line).licences
    return [getattr(one, "value", None) or one.id or one.name for one in found]  # type: ignore[union-attr]


# ---- the file


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("numpy\n\n  # a comment\nPillow >= 10  # why\r\n", ["numpy", "Pillow >= 10"]),
        ("numpy==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n", ["numpy==1.0"]),
        ("-i https://x/simple\n--no-binary :all:\n-c limits.txt\n-r more.txt\nx\n", ["x"]),
        ("-e ./local\n--editable=../other\n", ["./local", "../other"]),
        ("./a.whl\nhttps://user:secret@host/a.whl\n", ["./a.whl", "https://host/a.whl"]),
        ("a @ git+https://token@host/a#egg=a\n", ["a @ git+https://host/a#egg=a"]),
        ("a; python_version < '3'  # old\n", ["a; python_version < '3'"]),
    ],
)
def test_comments_options_and_passwords_are_no_part_of_a_requirement(
    text: str, lines: list[str]
) -> None:
    assert list(requirement_lines(text)) == lines


def test_included_files_are_found_however_they_are_written() -> None:
    text = "-r a.txt\n-rb.txt\n--requirement c.txt\n--requirement=d.txt\nnumpy\n"
    assert list(included_files(text)) == ["a.txt", "b.txt", "c.txt", "d.txt"]


def test_names_are_read_of_requirements_and_of_places() -> None:
    text = "Foo_Bar[x]>=1  # why\ngit+https://a.example/b/c.git@v1\n-e git+https://x/y#egg=own\n"
    text += "./wheels/d-1.0-py3-none-any.whl\n-r more.txt\ne; python_version < '3'\n"
    assert declared(text) == {"foo-bar", "c", "own", "d", "e"}


# ---- one requirement


@pytest.mark.parametrize(
    ("line", "name", "version"),
    [
        ("numpy", "numpy", NUMPY),
        (f"NumPy=={NUMPY}", "numpy", NUMPY),
        ("numpy==1.0", "numpy", "1.0"),
        ("numpy===1.0", "numpy", "1.0"),
        ("numpy==0.*", "numpy", None),
        ("numpy<1", "numpy", None),
        ("numpy>=1", "numpy", NUMPY),
        ("numpy>=1; python_version < '3'", "numpy", None),
        ("numpy==1.0; python_version < '3'", "numpy", "1.0"),
        ("No.Such_Package[extra]>1", "no-such-package", None),
        ("https://host/a.whl", None, None),
        ("./a.whl", None, None),
    ],
)
def test_the_version_is_the_pinned_one_else_the_installed_one_that_is_allowed(
    line: str, name: str | None, version: str | None
) -> None:
    requirement = Requirement(line)
    assert (requirement.name, requirement.version) == (name, version)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["License-Expression: MIT OR Apache-2.0"], ["MIT OR Apache-2.0"]),
        (["License-Expression: mit"], ["MIT"]),
        (["License: MIT", "Classifier: License :: OSI Approved :: BSD License"], ["MIT"]),
        (["License: as we please"], ["as we please"]),
        (["License: " + "x" * 200, "Classifier: License :: Freeware"], ["Freeware"]),
        (
            [
                "Classifier: License :: OSI Approved",
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: License :: OSI Approved :: BSD License",
            ],
            ["MIT License", "BSD License"],
        ),
        ([], []),
    ],
)
def test_licences_are_those_that_the_installed_distribution_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], expected: list[str]
) -> None:
    install(tmp_path, "tiny-package", "1.2", *said)
    monkeypatch.syspath_prepend(tmp_path)
    assert licences("tiny-package") == expected
    assert licences("Tiny_Package==1.2") == expected
    assert licences("tiny-package==1.3") == []


@pytest.mark.parametrize(
    "line",
    [
        "-i http://a.test/simple",
        "--index-url=http://a.test/simple",
        "--extra-index-url https://a.test/simple",
        "--find-links https://a.test",
        "-f ./wheels",
        "--trusted-host a.test",
        "-e .",
        "--editable ../own",
        "-r ../more.txt",
        "-r /etc/passwd",
        "-c https://a.test/constraints.txt",
        "--requirement=sub/../../more.txt",
        "git+https://a.test/own.git#egg=own",
        "own @ git+ssh://git@a.test/own.git",
        "own @ https://a.test/own-1.0.whl",
        "https://a.test/own-1.0.tar.gz",
        "./own-1.0.whl",
        "own --config-settings x=y",
        "--extra-\\\nindex-url https://a.test",
    ],
)
def test_lines_that_take_code_from_elsewhere_are_found(line: str) -> None:
    assert [what for _, what in foreign_sources(f"numpy==2.0  # -i\n{line}\n")] != []


def test_plain_requirements_take_nothing_from_elsewhere() -> None:
    text = "numpy>=2,<3\n-r more.txt\nown[extra]==1.0; python_version > '3.9'\n# -e .\n"
    text += "own==1 --hash=sha256:00\n--pre\n"
    assert list(foreign_sources(text)) == []


def test_a_password_in_an_address_is_not_shown() -> None:
    ((line, _),) = foreign_sources("--index-url https://me:secret@a.test/simple")
    assert "secret" not in line
