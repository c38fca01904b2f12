"""Check that a handler reads only what TorchServe puts into a context's system properties."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from marsmith.check.modules import Module
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding

# Of Context.system_properties (ts/context.py).
KEYS = (
    *("model_dir", "gpu_id", "batch_size"),
    *("server_name", "server_version", "limit_max_image_pixels"),
)


def check_context_keys(subject: Subject, module: Module) -> Iterator[Finding]:
    """Yield keys that TorchServe never sets: `system_properties["model"]` is an example's own."""
    properties = {"system_properties", *_aliases(module.tree)}
    for node in ast.walk(module.tree):
        key = _key(node, properties)
        if key is not None and key not in KEYS:
            message = f"context.system_properties has no key {key!r}"
            hint = f"TorchServe sets {', '.join(KEYS)}; load the model from model_dir"
            line = getattr(node, "lineno", None)
            yield subject.presume(message, hint, module.entry, line, rule="context-key")


def _aliases(tree: ast.Module) -> set[str]:
    """Return the variables that are assigned the properties: `properties = ….system_properties`."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _name(node.value) == "system_properties"
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _key(node: ast.AST, properties: set[str]) -> str | None:
    """Return the key that `properties["key"]` or `properties.get("key")` reads."""
    if isinstance(node, ast.Subscript) and _name(node.value) in properties:
        return _text(node.slice)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        # With a default value, a handler is prepared for a key that is not there.
        reads = node.func.attr == "get" and len(node.args) == 1 and not node.keywords
        return _text(node.args[0]) if reads and _name(node.func.value) in properties else None
    return None


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
