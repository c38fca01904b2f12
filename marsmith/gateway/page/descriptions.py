"""What the page is told of a model; no IO."""

from __future__ import annotations

from typing import Any

from marsmith.gateway.document.forms import Body, Example, Forms, path_of


def described(name: str, forms: Forms) -> dict[str, Any]:
    """Describe a model: its forms and its samples, by addresses relative to the page."""
    return {
        "name": name,
        "predict": f"{path_of(name)[1:]}/predict",
        "takes_pictures": forms.pictures,
        "small": forms.small,
        "samples": [_sample(name, *numbered) for numbered in enumerate(forms.examples)],
    }


def _sample(name: str, number: int, example: Example) -> dict[str, Any]:
    here = f"{path_of(name)[1:]}/samples/{number}"
    return {
        "request": f"{here}/request",
        "content_type": example.request.content_type,
        "accept": example.accept,
        "answer": f"{here}/answer",
        "gives": _kind(example.answer),
    }


def _kind(answer: Body) -> str:
    """Return what an answer is shown as: a mask or a picture, or text, JSON among it."""
    if answer.is_mask:
        return "mask"
    return "picture" if answer.content_type.startswith("image/") else "text"
