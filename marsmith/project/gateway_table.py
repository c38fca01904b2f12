"""`[gateway]` in `archives.toml`: read, and compared with the archives; no IO."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic_core import ValidationError

from marsmith.core.findings import Finding
from marsmith.core.suggestions import did_you_mean
from marsmith.project.gateway_schema import GATEWAY, validate_gateway
from marsmith.project.spec_schema import SPEC_FILE, findings_of
from marsmith.project.toml_lines import TomlLines

# The first parts of paths that the gateway itself answers.
_OWN = """
api-description docs explanations invocations jobs metrics models openapi.json page ping
predictions static uploads v1 v2
"""
RESERVED = frozenset(_OWN.split())
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?")


def read_gateway(
    values: Any, archives: Collection[str], lines: TomlLines
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the table, empty if it is wrong, and what is wrong; `archives` are their names."""
    try:
        table: dict[str, Any] = validate_gateway(values)
    except ValidationError as error:
        return {}, [*findings_of(error, ("gateway",), GATEWAY, lines)]
    wrong = [*_paths(table, lines), *_models(table, archives, lines)]
    return {} if wrong else table, wrong


def _paths(table: Mapping[str, Any], lines: TomlLines) -> Iterator[Finding]:
    for key in ("routes", "redirects"):
        for path in table.get(key, ()):
            if problem := _problem(path):
                where = lines.find(("gateway", key, path))
                hint = "choose another path, such as /prediction"
                yield Finding(problem, hint, SPEC_FILE, where, rule="gateway-path")


def _problem(path: str) -> str | None:
    if not _PATH.fullmatch(path):
        return f"{path!r} cannot be the path of a route"
    first, *others = path.strip("/").split("/")
    if first in RESERVED or others[-1:] == ["predict"]:
        return f"the gateway itself answers {path!r}"
    return None


def _models(
    table: Mapping[str, Any], archives: Collection[str], lines: TomlLines
) -> Iterator[Finding]:
    named: dict[tuple[str, ...], str]
    named = {("routes", path): route["model"] for path, route in table.get("routes", {}).items()}
    if "grpc" in table:
        named["grpc",] = table["grpc"]["model"]
    for place, model in named.items():
        if model not in archives:
            problem = f"there is no archive {model!r}"
            line = lines.find(("gateway", *place, "model"))
            hint = did_you_mean(model, archives)
            yield Finding(problem, hint, SPEC_FILE, line, rule="unknown-archive")
