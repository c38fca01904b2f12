"""Whether the templates of `[gateway.routes]` name values that their models' answers have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from marsmith.core.findings import Finding
from marsmith.project.answer_template import filled, placeholders
from marsmith.project.gateway_table import unknown_placeholder
from marsmith.project.project import Project


def template_findings(project: Project) -> Iterator[Finding]:
    """Yield the placeholders that no JSON answer among the samples of their model has.

    A model without such a sample is taken at its word. Raises FindingsError as `archives` does.
    """
    for path, route in project.gateway.get("routes", {}).items():
        answers = _sample_answers(project, route["model"])
        for name in placeholders(route.get("answer")):
            if answers and not any(_has(one, name) for one in answers):
                known = list(answers[0]) if isinstance(answers[0], dict) else []
                place = ("gateway", "routes", path, "answer")
                yield unknown_placeholder(name, known, project.spec_file.line_of(place))


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
