"""Whether the templates of `[gateway.routes]` name values that their models' answers have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from marsmith.core.findings import Finding
from marsmith.project.answer_template import filled, placeholders
from marsmith.project.gateway_table import OF_ROTATION, unknown_placeholder
from marsmith.project.project import Project
from marsmith.project.spec_schema import SPEC_FILE


def template_findings(project: Project) -> Iterator[Finding]:
    """Yield the values that no JSON answer among the samples of their model has.

    Templates name them, or gRPC clients of the rotation system need them. A model without such a
    sample is taken at its word. Raises FindingsError as `archives` does.
    """
    for path, route in project.gateway.get("routes", {}).items():
        answers = _sample_answers(project, route["model"])
        for name in placeholders(route.get("answer")):
            if answers and not any(_has(one, name) for one in answers):
                known = list(answers[0]) if isinstance(answers[0], dict) else []
                place = ("gateway", "routes", path, "answer")
                yield unknown_placeholder(name, known, project.spec_file.line_of(place))
    if "grpc" in project.gateway:
        yield from _rotation(project, project.gateway["grpc"]["model"])


def _rotation(project: Project, model: str) -> Iterator[Finding]:
    answers = _sample_answers(project, model)
    if answers and not any(all(_has(one, name) for name in OF_ROTATION) for one in answers):
        problem = f"no answer among the samples of {model} has {', '.join(OF_ROTATION)}"
        line = project.spec_file.line_of(("gateway", "grpc", "model"))
        hint = "name a model of rotation"
        yield Finding(problem, hint, SPEC_FILE, line, rule="grpc-answer")


def _sample_answers(project: Project, model: str) -> list[Any]:
    found = []
    for sample in project.archives[model].samples:
        with suppress(OSError, ValueError):  # it is missing, which others tell, or is no JSON
            found.append(json.loads((project.root / sample.response).read_bytes()))
    return found


def _has(answer: Any, name: str) -> bool:
    with suppress(LookupError):
        filled(f"${{{name}}}", answer)
        return True
    return False
