"""What the front end makes of requests; test_runtime.py asks TorchServe."""

from __future__ import annotations

import pytest

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request
from marsmith.core.errors import ClientError
from marsmith.torchserve.front_end import Parameter, parameters_of
from tests.codes import coded


def test_a_body_is_one_parameter_with_the_type_alone() -> None:
    assert parameters_of(Request(b"x")) == [Parameter("body", b"x")]
    typed = Request(b"{}", headers={"content-type": "application/json; charset=utf-8"})
    assert parameters_of(typed) == [Parameter("body", b"{}", "application/json")]


def test_a_form_has_a_parameter_for_each_field() -> None:
    fields = [Field("a", b"\x89", "a.png", "image/png"), Field("b", b"2", None)]
    expected = [Parameter("a", b"\x89", "image/png"), Parameter("b", b"2", "")]
    assert parameters_of(form(fields)) == expected


def test_a_url_encoded_form_is_one_too() -> None:
    request = Request(b"a=1+2&b=%20&c=", "application/x-www-form-urlencoded; charset=utf-8")
    assert parameters_of(request) == [
        Parameter("a", b"1 2"),
        Parameter("b", b" "),
        Parameter("c", b""),
    ]


@pytest.mark.parametrize(
    "request_",
    [
        Request(b"\x89PNG", "application/x-www-form-urlencoded"),
        Request(b"\x89PNG", "multipart/form-data; boundary=b"),
    ],
)
def test_a_body_that_is_no_form_is_an_error(request_: Request) -> None:
    with pytest.raises(ClientError, check=coded("bad-form")):
        parameters_of(request_)
