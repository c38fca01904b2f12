"""`marsmith run` and `marsmith sample`: what a terminal, a pipe and a folder get of an answer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.codes import tells
from tests.projects import run_marsmith
from tests.unit.cli.terminal import on_terminal
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes

TITLE = "\x1b]0;owned\x07\x9b2J title\nsecond line"
BUFFER = io.BytesIO()
Image.new("RGB", (4, 3), "red").save(BUFFER, "PNG")
PNG = BUFFER.getvalue()
# Answers as the request says.
HANDLER = f"""\
class Handler:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [self.answer(dict(row)["body"]) for row in data]

    def answer(self, body):
        kind = bytes(body).decode().strip()
        return {{"title": {TITLE!r}, "picture": {PNG!r}, "bytes": bytes(range(256))}}[kind]
"""
SPEC = """\
[archives.say]
version = "1.0"
handler = "handler.py"

[[archives.say.samples]]
request = "title.txt"
response = "title.json"
"""


@pytest.fixture
def root(project: MakeProject) -> Path:
    """A project whose archive answers what a file says."""
    files: dict[str, str | bytes] = {"handler.py": HANDLER, "title.json": TITLE}
    files |= {f"{kind}.txt": kind for kind in ("title", "picture", "bytes", "other")}
    root = project(files, SPEC).root
    assert run_marsmith("build", cwd=root).returncode == 0
    return root


def test_no_answer_can_act_on_a_terminal(root: Path) -> None:
    status, seen = on_terminal(
        *("run", "say", "title.txt", "picture.txt", "bytes.txt"), cwd=root, env={"TERM": "dumb"}
    )
    assert status == 0
    assert all(char.isprintable() or char in "\r\n" for char in seen)
    assert "PNG, 4 x 3 pixels" in seen
    assert "256 B" in seen


def test_one_answer_is_written_to_a_terminal_as_text_alone(root: Path) -> None:
    env = {"TERM": "dumb"}
    status, seen = on_terminal("run", "say", "title.txt", "--out", "-", cwd=root, env=env)
    assert (status, seen.count("\r\n")) == (0, 2)
    assert "\x1b" not in seen
    for kind in ("picture.txt", "bytes.txt"):
        status, seen = on_terminal("run", "say", kind, "--out", "-", cwd=root, env=env)
        assert status == 1
        assert "error[binary-answer]" in seen


@pytest.mark.parametrize(
    ("kind", "body"), [("title", TITLE.encode()), ("picture", PNG), ("bytes", bytes(range(256)))]
)
def test_one_answer_is_written_into_a_pipe_as_it_is(root: Path, kind: str, body: bytes) -> None:
    command = [sys.executable, "-m", "marsmith", "run", "say", f"{kind}.txt", "--out", "-"]
    assert subprocess.check_output(command, cwd=root, timeout=60) == body
    assert (
        run_marsmith("run", "say", "title.txt", "bytes.txt", "--out", "-", cwd=root).returncode == 2
    )


def test_several_answers_on_standard_output_are_wrong_usage(root: Path) -> None:
    result = run_marsmith("run", "say", "title.txt", "bytes.txt", "--out", "-", cwd=root)
    assert (result.returncode, result.stdout) == (2, "")


def test_saved_answers_have_the_ending_of_their_kind(root: Path) -> None:
    files = [f"{kind}.txt" for kind in ("title", "picture", "bytes")]
    result = run_marsmith("run", "say", *files, "--out", "kept", "--json", cwd=root)
    assert [row["answer"] for row in json.loads(result.stdout)] == [
        TITLE,
        "kept/picture.png",
        "kept/bytes.bin",
    ]
    kept = {path.name: path.read_bytes() for path in (root / "kept").iterdir()}
    assert kept == {
        "title.txt": TITLE.encode(),
        "picture.png": PNG,
        "bytes.bin": bytes(range(256)),
    }


def test_answers_to_files_of_one_name_do_not_overwrite_each_other(root: Path) -> None:
    for folder in ("one", "two"):
        (root / folder).mkdir()
        (root / folder / "a.txt").write_text("picture")
        (root / folder / "a.png").write_text("bytes")
    run_marsmith("run", "say", *("one/a.txt", "two/a.txt", "one/a.png"), "--out", "kept", cwd=root)
    kept = {str(path.relative_to(root / "kept")) for path in (root / "kept").rglob("*.*")}
    assert kept == {"one/a.txt.png", "two/a.txt.png", "a.png.bin"}


def test_a_failing_request_shows_the_traceback_with_the_users_file(root: Path) -> None:
    result = run_marsmith("run", "say", "title.txt", "other.txt", cwd=root)
    assert result.returncode == 1
    assert 'File "handler.py", line 10, in answer' in result.stderr
    assert result.stderr.splitlines()[-1] == "KeyError: 'other'"
    rows = json.loads(run_marsmith("run", "say", "other.txt", "--json", cwd=root).stdout)
    assert rows[0]["traceback"][-1] == "KeyError: 'other'"


@pytest.mark.parametrize("command", [("run", "say", "title.txt"), ("sample", "say", "title.txt")])
@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("[1, 2]", [2, 1]),
        ("(1,)", ["tuple"]),
        ("[{1}]", ["set"]),
    ],
)
def test_what_cannot_be_sent_is_told_where_no_traceback_says_it(
    project: MakeProject, command: tuple[str, ...], returned: str, told: list[object]
) -> None:
    handler = HANDLER.replace('[self.answer(dict(row)["body"]) for row in data]', returned)
    root = project({"handler.py": handler, "title.txt": "title", "title.json": "x"}, SPEC).root
    assert run_marsmith("build", cwd=root).returncode == 0
    result = run_marsmith(*command, cwd=root)
    assert result.returncode == 1
    assert tells(result.stderr, "handle()", *told)


@pytest.mark.parametrize("command", [("run", "say", "title.txt"), ("sample", "say", "title.txt")])
def test_a_failing_load_shows_the_whole_traceback_with_the_users_files(
    project: MakeProject, command: tuple[str, ...]
) -> None:
    files = {"handlers/h.py": HANDLER.replace("pass", "{}['size']", 1), "title.txt": "title"}
    spec = SPEC.partition("\n[[")[0].replace("handler.py", "handlers/h.py")
    root = project(files, spec).root
    run_marsmith("build", cwd=root)
    result = run_marsmith(*command, cwd=root)
    assert result.returncode == 1
    assert "error[model-not-loaded]" in result.stderr
    assert 'File "handlers/h.py", line 3, in initialize' in result.stderr
    assert "KeyError: 'size'" in result.stderr
    assert "/models/" not in result.stderr
    assert ".log" not in result.stderr


def test_existing_samples_are_recorded_again_beside_what_they_were(root: Path) -> None:
    (root / "title.json").write_text("another answer")
    result = run_marsmith("sample", "say", cwd=root)
    assert "error[not-confirmed]" in result.stderr
    (row,) = result.stdout.splitlines()[1:]
    assert row.split()[:3] == ["title.txt", "another", "answer"]
    assert "title\\nsecond line" in row
    assert (root / "title.json").read_text() == "another answer"
    assert run_marsmith("sample", "say", "--yes", cwd=root).returncode == 0
    assert (root / "title.json").read_text() == TITLE


def test_an_archive_without_samples_has_none_to_record_again(project: MakeProject) -> None:
    root = project({"handler.py": HANDLER}, SPEC.partition("\n[[")[0]).root
    assert "error[no-samples]" in run_marsmith("sample", "say", cwd=root).stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_locale_without_unicode_prints_all_the_same(root: Path, encoding: str) -> None:
    (root / "größe…→.txt").write_text("title")
    command = [sys.executable, "-m", "marsmith", "run", "say", "größe…→.txt"]
    result = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    # click writes UTF-8 where Python would only write ASCII, since that is most often a mistake.
    expected = {"ascii": "größe…→.txt".encode(), "latin-1": "größe...->.txt".encode("latin-1")}
    assert expected[encoding] in result.stdout
