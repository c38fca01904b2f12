"""Check that a handler and a model file define what TorchServe looks for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from marsmith.check.modules import Module
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding
from marsmith.project.python_outline import (
    OutlineProblem,
    class_problem,
    handler_problem,
    outline,
)

# What TorchServe's BaseHandler calls of itself (ts/torch_handler/base_handler.py).
_OF_BASE_HANDLER = ("initialize", "handle", "preprocess", "inference", "postprocess")


def check_handler(subject: Subject, module: Module) -> Iterator[Finding]:
    """Yield why TorchServe would not find the handler's function or instantiate its class."""
    found = outline(subject.python_files[module.entry])
    entry_point = subject.entry_point
    if problem := handler_problem(found, entry_point):
        yield _presume(subject, module, problem)
    elif "*" not in found.names and (entry_point or "handle") not in found.names:
        yield from _check_handler_class(subject, module, found.classes[0].name)


def _presume(subject: Subject, module: Module, problem: OutlineProblem) -> Finding:
    return subject.presume(
        problem.message, problem.hint, module.entry, problem.line, rule=problem.rule
    )


def _check_handler_class(subject: Subject, module: Module, name: str) -> Iterator[Finding]:
    definition = _class(module.tree, name)
    if needed := _needed_arguments(definition):
        message = f"TorchServe calls {name}() without arguments, but it needs {needed}"
        hint = "give them default values; settings belong into handler_config"
        line = _constructor_line(definition)
        yield subject.presume(message, hint, module.entry, line, rule="constructor")
    methods = {node.name for node in definition.body if isinstance(node, ast.FunctionDef)}
    missing = [one for one in ("initialize", "handle") if one not in methods]
    if not definition.bases and missing:
        message = f"{name} has no method {' and no '.join(missing)}"
        hint = "define it, or derive the class from ts.torch_handler.base_handler.BaseHandler"
        yield subject.presume(
            message, hint, module.entry, definition.lineno, rule="handler-methods"
        )
    yield from _check_hidden_methods(subject, module, definition)


def _check_hidden_methods(
    subject: Subject, module: Module, definition: ast.ClassDef
) -> Iterator[Finding]:
    """Yield attributes that take the place of a method: `self.preprocess = None`."""
    methods = {node.name for node in definition.body if isinstance(node, ast.FunctionDef)}
    methods |= set(_OF_BASE_HANDLER if definition.bases else ())
    assignments = (node for node in ast.walk(definition) if isinstance(node, ast.Assign))
    for node in assignments:
        inner = {name for one in ast.walk(node.value) if (name := _own_attribute(one))}
        for name in filter(None, map(_own_attribute, node.targets)):
            if name in methods and name not in inner:  # a wrapper around the method is none
                message = f"the attribute self.{name} hides the method {name}()"
                hint = f"give the attribute another name, and leave {name}() to TorchServe"
                yield subject.presume(message, hint, module.entry, node.lineno, rule="hides-method")


def _own_attribute(node: ast.AST) -> str | None:
    """Return the name of `self.NAME`, or None."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if node.value.id == "self" else None
    return None


def check_model(subject: Subject, module: Module) -> Iterator[Finding]:
    """Yield why TorchServe's own handlers could not instantiate the model."""
    found = outline(subject.python_files[module.entry])
    if problem := class_problem(found, "model file"):
        yield _presume(subject, module, problem)
        return
    definition = _class(module.tree, found.classes[0].name)
    if needed := _needed_arguments(definition):
        message = f"TorchServe calls {definition.name}() without arguments, but it needs {needed}"
        hint = "give them the default values that the weights were trained with"
        line = _constructor_line(definition)
        yield subject.presume(message, hint, module.entry, line, rule="constructor")


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return next(node for node in nodes if node.name == name)


def _constructor(definition: ast.ClassDef) -> ast.FunctionDef | None:
    own = (node for node in definition.body if isinstance(node, ast.FunctionDef))
    return next((node for node in own if node.name == "__init__"), None)


def _constructor_line(definition: ast.ClassDef) -> int:
    constructor = _constructor(definition)
    return constructor.lineno if constructor else definition.lineno


def _needed_arguments(definition: ast.ClassDef) -> str:
    """Return the names of the constructor's arguments that have no default value."""
    constructor = _constructor(definition)
    if constructor is None:
        return ""
    arguments = constructor.args
    positional = [*arguments.posonlyargs, *arguments.args][1:]
    needed = positional[: len(positional) - len(arguments.defaults)]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return ", ".join(one.arg for one in [*needed, *(arg for arg, value in pairs if value is None)])
