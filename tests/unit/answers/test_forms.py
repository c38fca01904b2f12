"""Forms, as bodies and back."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest

from marsmith.answers.forms import Field, boundary_of, fields_of, form
from marsmith.core.errors import ClientError
from tests.codes import coded

FIELDS = [
    Field("image", b"\x89PNG\r\n\r\n--\r\n\x00", "a.png", "image/png"),
    Field("text", "grün\r\n".encode()),
    Field("empty", b"", "x.bin", "application/octet-stream"),
]


def test_a_form_is_read_as_it_was_written() -> None:
    request = form(FIELDS)
    boundary = boundary_of(request.content_type)
    assert boundary
    assert fields_of(request.body, boundary) == FIELDS


def test_others_read_it_too() -> None:
    request = form(FIELDS)
    head = f"Content-Type: {request.content_type}\r\n\r\n".encode()
    parts = list(message_from_bytes(head + request.body, policy=policy.HTTP).iter_parts())
    assert [one.get_param("name", header="content-disposition") for one in parts] == [
        one.name for one in FIELDS
    ]
    assert [one.get_filename() for one in parts] == ["a.png", None, "x.bin"]


def test_the_same_fields_give_the_same_bytes_and_others_do_not() -> None:
    assert form(FIELDS) == form(list(FIELDS))
    assert form(FIELDS).body != form(FIELDS[:2]).body


@pytest.mark.parametrize("name", ["", 'a"b', "a\nb", "ä;b", "a=b"])
def test_a_name_that_no_header_holds_is_an_error(name: str) -> None:
    with pytest.raises(ClientError, check=coded("bad-form")):
        form([Field(name, b"x")])


def test_a_form_without_fields_is_an_error() -> None:
    with pytest.raises(ClientError, check=coded("bad-form")):
        form([])


def test_a_filename_cannot_end_its_header() -> None:
    odd = 'a"\r\nX-Evil: 1.png'
    request = form([Field("a", b"x", odd, "image/png")])
    assert b"\r\nX-Evil" not in request.body


@pytest.mark.parametrize("body", [b"", b"--b", b"no form", b"--b\r\n\r\nx\r\n"])
def test_a_body_that_is_no_whole_form_is_an_error(body: bytes) -> None:
    with pytest.raises(ClientError, check=coded("bad-form")):
        fields_of(body, "b")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=b", "b"),
        ('Multipart/Form-Data; charset=utf-8; boundary="b c"', "b c"),
        ("multipart/form-data", None),
        ("multipart/mixed; boundary=b", None),
        ("image/png", None),
        ("", None),
    ],
)
def test_the_boundary_is_that_of_forms_alone(content_type: str, boundary: str | None) -> None:
    assert boundary_of(content_type) == boundary
