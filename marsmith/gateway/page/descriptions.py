"""What the page is told of a model; no IO."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from marsmith.gateway.document.bodies import JSON, Body
from marsmith.gateway.document.forms import Example, Forms, path_of, sample_path


def described(name: str, forms: Forms) -> dict[str, Any]:
    """Describe a model: its forms and its samples, by addresses relative to the page."""
    return {
        "name": name,
        "predict": f"{path_of(name)[1:]}/predict",
        "takes": _taken(forms),
        "fields": _fields(forms),
        "small": forms.small,
        "samples": [_sample(name, *numbered) for numbered in enumerate(forms.examples)],
    }


def _sample(name: str, number: int, example: Example) -> dict[str, Any]:
    return {
        "request": sample_path(name, number, "request")[1:],
        "content_type": example.request.content_type,
        "accept": example.accept,
        "headers": example.more_headers,
        "answer": sample_path(name, number, "answer")[1:],
        "gives": _kind(example.answer),
    }


def _taken(forms: Forms) -> str:
    """Return what a person gives a model: a picture, a form, a text, JSON among it, or a file."""
    if forms.pictures or not forms.examples:
        return "picture"
    request = forms.examples[0].request
    if request.fields:
        return "form"
    is_text = request.media_type == JSON or request.media_type.startswith("text/")
    return "text" if is_text else "file"


def _fields(forms: Forms) -> list[dict[str, Any]]:
    """Return the fields of the first sample's form."""
    return [asdict(field) for one in forms.examples[:1] for field in one.request.fields]


def _kind(answer: Body) -> str:
    """Return what an answer is shown as: a mask or a picture, or text, JSON among it."""
    if answer.is_mask:
        return "mask"
    return "picture" if answer.content_type.startswith("image/") else "text"
