"""Requests of files and of forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.answers.forms import Field, boundary_of, fields_of
from marsmith.answers.messages import Request
from marsmith.answers.requests import Input, accepting, file_request, form_request, likely_type
from marsmith.core.errors import ClientError
from tests.codes import coded


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.json", "application/json"), ("A.JSON", "application/json"), ("a.png", ""), ("json", "")],
)
def test_a_json_file_goes_as_json(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).write_bytes(b"{}")
    assert likely_type(name) == expected
    assert file_request(tmp_path / name) == Request(b"{}", expected)
    assert file_request(tmp_path / name, "a/b", {"x": "y"}) == Request(b"{}", "a/b", {"x": "y"})


@pytest.mark.parametrize("boundary", ["xYz", "=====12345==", "----WebKitFormBoundaryAbC"])
def test_a_file_with_the_body_of_a_form_goes_as_a_form(tmp_path: Path, boundary: str) -> None:
    file = tmp_path / "both.form"
    part = 'Content-Disposition: form-data; name="a"\r\n\r\nx'
    file.write_bytes(f"--{boundary}\r\n{part}\r\n--{boundary}--\r\n".encode())
    request = Input("both.form", file).request()
    found = boundary_of(request.content_type)
    assert found == boundary
    assert [(one.name, one.value) for one in fields_of(request.body, found)] == [("a", b"x")]
    assert Input("both.form", file, "text/plain").request().content_type == "text/plain"


def test_a_file_that_is_only_named_as_a_form_goes_as_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "tax.form"
    file.write_bytes(b"--all of it\n")
    assert Input("tax.form", file).request().content_type == ""


def test_a_form_takes_files_bytes_and_texts(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89")
    request = form_request({"image": tmp_path / "cat.png", "raw": b"\x00", "text": "ä"})
    assert fields_of(request.body, boundary_of(request.content_type) or "") == [
        Field("image", b"\x89", "cat.png", "image/png"),
        Field("raw", b"\x00", "raw", "application/octet-stream"),
        Field("text", "ä".encode()),
    ]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClientError, check=coded("unreadable-file")):
        file_request(tmp_path / "none.png")
    with pytest.raises(ClientError, check=coded("unreadable-file")):
        form_request({"a": tmp_path})


def test_own_headers_go_before_the_usual_ones() -> None:
    request = Request(b"", "a/b", {"accept": "image/png", "content-type": "c/d"})
    assert request.sent_headers("x/y") == {"accept": "image/png", "content-type": "c/d"}
    assert request.sent_type == "c/d"
    assert Request(b"", "a/b").sent_headers() == {"Accept": "*/*", "Content-Type": "a/b"}
    sent = accepting(Request(b"", "a/b"), "x/y").sent_headers()
    assert sent == {"Accept": "x/y", "Content-Type": "a/b"}


def test_an_input_keeps_what_was_given_with_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    given = Input("a", tmp_path / "a", "t/x", {"h": "1"})
    assert given.request() == Request(b"x", "t/x", {"h": "1"})
    made = Input("form", headers={"h": "1"}, fields=[Field("a", b"1")]).request()
    assert made.headers == {"h": "1"}
    assert made.content_type.startswith("multipart/form-data; boundary=")
