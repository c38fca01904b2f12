"""`[gateway]` in `archives.toml`: read, and compared with the archives; no IO."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic_core import ValidationError

from marsmith.core.findings import Finding
from marsmith.core.suggestions import did_you_mean
from marsmith.project.answer_template import placeholders
from marsmith.project.gateway_schema import GATEWAY, validate_gateway
from marsmith.project.spec_schema import SPEC_FILE, findings_of
from marsmith.project.toml_lines import TomlLines

# The first parts of paths that the gateway itself answers.
_OWN = """
api-description docs explanations invocations jobs metrics models openapi.json page ping
predictions static uploads v1 v2
"""
RESERVED = frozenset(_OWN.split())
# What the template of a failure may name.
OF_FAILURE = ("message", "hint", "code")
# What the answer of the model in [gateway.grpc] must have.
OF_ROTATION = ("model_degree", "exif_degree", "confidence", "success")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?")
# Headers that the server itself writes: they belong to one body and one connection.
_OF_SERVER = frozenset(
    {"connection", "content-length", "date", "transfer-encoding", "x-request-id"}
)


def read_gateway(
    values: Any, archives: Collection[str], lines: TomlLines
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the table, empty if it is wrong, and what is wrong; `archives` are their names."""
    try:
        table: dict[str, Any] = validate_gateway(values)
    except ValidationError as error:
        return {}, [*findings_of(error, ("gateway",), GATEWAY, lines)]
    wrong = [
        *_paths(table, lines),
        *_targets(table, lines),
        *_headers(table, lines),
        *_models(table, archives, lines),
        *_failures(table, lines),
    ]
    return {} if wrong else table, wrong


def _paths(table: Mapping[str, Any], lines: TomlLines) -> Iterator[Finding]:
    for key in ("routes", "redirects"):
        for path in table.get(key, ()):
            if problem := _problem(path):
                line = lines.find(("gateway", key, path))
                hint = "choose another path, such as /prediction"
                yield Finding(problem, hint, SPEC_FILE, line, rule="gateway-path")
    for path in table.get("redirects", {}).keys() & table.get("routes", {}).keys():
        line = lines.find(("gateway", "redirects", path))
        yield Finding(
            f"{path!r} is a route, too", "remove one", SPEC_FILE, line, rule="gateway-path"
        )


def _targets(table: Mapping[str, Any], lines: TomlLines) -> Iterator[Finding]:
    redirects = table.get("redirects", {})
    for path, target in redirects.items():
        if not target.startswith("/") or target.startswith(("//", "/\\")):
            problem = f"{target!r} is not a path of this gateway"
        elif target in redirects:
            problem = f"{target!r} is a redirect itself"
        else:
            continue
        line = lines.find(("gateway", "redirects", path))
        hint = "name a path that answers, such as /docs"
        yield Finding(problem, hint, SPEC_FILE, line, rule="gateway-path")


def _headers(table: Mapping[str, Any], lines: TomlLines) -> Iterator[Finding]:
    for path, route in table.get("routes", {}).items():
        for name in route.get("headers", {}):
            if name.lower() in _OF_SERVER:
                line = lines.find(("gateway", "routes", path, "headers"))
                problem = f"the gateway itself writes the header {name}"
                yield Finding(problem, "remove it", SPEC_FILE, line, rule="spec-value")


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


def _failures(table: Mapping[str, Any], lines: TomlLines) -> Iterator[Finding]:
    for path, route in table.get("routes", {}).items():
        for key in ("missing", "failure"):
            for name in placeholders(route.get(key, {}).get("body", "")):
                if name not in OF_FAILURE:
                    line = lines.find(("gateway", "routes", path, key))
                    yield unknown_placeholder(name, OF_FAILURE, line)


def unknown_placeholder(name: str, known: Collection[str], line: int | None) -> Finding:
    """Return what is wrong with a placeholder that has no value."""
    hint = did_you_mean(name, known)
    return Finding(f"${{{name}}} has no value here", hint, SPEC_FILE, line, rule="placeholder")
