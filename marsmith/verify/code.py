"""Would an archive's Python files load? Everything that can be seen without importing them."""

from __future__ import annotations

import ast
import difflib
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from marsmith.distributions import (
    declared,
    distribution_of,
    distributions_of,
    is_distribution,
    is_installed,
    is_known,
    is_of_distribution,
    is_standard,
    normalised,
)
from marsmith.findings import Finding, Severity
from marsmith.imported_names import Import, downloads, imports, unused_functions
from marsmith.python_source import outline
from marsmith.verify.subject import MODULE, Subject

# What TorchServe's vision handlers import without declaring it (ts/torch_handler).
_CAPTUM = ("image_classifier", "image_segmenter", "object_detector", "vision_handler")


@dataclass(frozen=True)
class _Module:
    """A Python file of the archive that its handler or model leads to."""

    entry: str
    tree: ast.Module
    imports: list[Import]


def check_code(subject: Subject) -> Iterator[Finding]:
    """Yield what would keep the handler or the model from being imported or built."""
    try:
        yield from _check_code(subject)
    except RecursionError:
        return  # of code that nests deeper than a person writes, only the worker can judge


def _check_code(subject: Subject) -> Iterator[Finding]:
    starts = [subject.handler_file, subject.manifest.model_file]
    modules: dict[str, _Module] = {}
    for entry in filter(None, starts):
        yield from _follow(subject, entry, modules)
    if (handler := subject.handler_file) in modules:
        yield from _check_handler(subject, modules[str(handler)])
    if (model := subject.manifest.model_file) in modules:
        yield from _check_model(subject, modules[str(model)])
    yield from _check_names(subject)
    yield from _check_imports(subject, list(modules.values()))
    called = ("handle", subject.entry_point or "handle")
    unused = unused_functions((module.tree for module in modules.values()), called)
    for module in modules.values():
        for found in downloads(module.tree, unused):
            message = f"{found.call} downloads weights when it runs, and a worker shall not"
            yield subject.finding("download", message, found.remedy, module.entry, found.line)


def _follow(subject: Subject, entry: str, modules: dict[str, _Module]) -> Iterator[Finding]:
    """Read a file and all files of the archive that it imports."""
    if entry in modules or entry not in subject.python_files:
        return
    try:
        tree = ast.parse(subject.python_files[entry])
    except SyntaxError as error:
        message = f"Python {platform.python_version()} does not understand it: {error.msg}"
        yield subject.presume("syntax", message, "mend the line", entry, error.lineno)
        return
    except ValueError as error:
        yield subject.presume("syntax", f"not Python: {error}", "save it as UTF-8 text", entry, 1)
        return
    package = ".".join(PurePosixPath(entry).parent.parts)
    found = imports(tree, package)
    modules[entry] = _Module(entry, tree, found)
    for one in found:
        for own in _own_files(subject, one.module):
            yield from _follow(subject, own, modules)


def _own_files(subject: Subject, module: str) -> list[str]:
    """Return the archive's files that an import runs: the module and the packages around it."""
    parts = module.split(".")
    names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    found = [f"{name}{end}" for name in names for end in (".py", "/__init__.py")]
    return [name for name in found if name in subject.archive.names]


def _is_own(subject: Subject, module: str) -> bool:
    """Whether the archive has a module, be it in a folder that a handler adds to `sys.path`."""
    top = module.partition(".")[0]
    found = re.compile(rf"(^|/){re.escape(top)}(/|{MODULE}$)")
    return any(found.search(name) for name in subject.archive.names)


def _check_handler(subject: Subject, module: _Module) -> Iterator[Finding]:
    found = outline(subject.python_files[module.entry])
    entry_point = subject.entry_point
    if "*" in found.names or (entry_point or "handle") in found.names:
        return
    if len(found.classes) == 1:
        yield from _check_handler_class(subject, module, found.classes[0].name)
    elif entry_point:
        close = difflib.get_close_matches(entry_point, found.names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "define it at the file's top level"
        message = f"there is no function {entry_point!r}"
        yield subject.presume("handler-function", message, hint, module.entry, 1)
    else:
        yield _class_count(subject, module, "handler", [c.line for c in found.classes])


def _check_handler_class(subject: Subject, module: _Module, name: str) -> Iterator[Finding]:
    definition = _class(module.tree, name)
    if needed := _needed_arguments(definition):
        message = f"TorchServe builds {name} without arguments, and it needs {needed}"
        hint = "give them default values; what differs goes into handler_config"
        line = _constructor_line(definition)
        yield subject.presume("constructor", message, hint, module.entry, line)
    methods = {node.name for node in definition.body if isinstance(node, ast.FunctionDef)}
    missing = [one for one in ("initialize", "handle") if one not in methods]
    if not definition.bases and missing:
        message = f"{name} has no method {' and no '.join(missing)}"
        hint = "define it, or derive the class from TorchServe's BaseHandler"
        yield subject.presume("handler-methods", message, hint, module.entry, definition.lineno)


def _check_model(subject: Subject, module: _Module) -> Iterator[Finding]:
    found = outline(subject.python_files[module.entry])
    if len(found.classes) != 1:
        yield _class_count(subject, module, "model file", [c.line for c in found.classes])
        return
    definition = _class(module.tree, found.classes[0].name)
    if needed := _needed_arguments(definition):
        message = f"TorchServe builds {definition.name} without arguments, and it needs {needed}"
        hint = "give them the default values that the weights were trained with"
        line = _constructor_line(definition)
        yield subject.presume("constructor", message, hint, module.entry, line)


def _class_count(subject: Subject, module: _Module, kind: str, lines: list[int]) -> Finding:
    message = f"a {kind} must define exactly one class, and this one defines {len(lines) or 'none'}"
    hint = "imported classes do not count: derive a class of its own here"
    if lines:
        hint = "move the others to a file of their own and list it in extra_files"
    line = lines[1] if len(lines) > 1 else 1
    return subject.presume("classes", message, hint, module.entry, line)


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


def _check_names(subject: Subject) -> Iterator[Finding]:
    """The archive's folder comes first on sys.path: its modules hide others of their name."""
    names = subject.archive.names
    for name in sorted(name for name in names if name.endswith(".py") and "/" not in name):
        module = name.removesuffix(".py")
        if is_standard(module) or is_of_distribution(module):
            whose = "Python's own" if is_standard(module) else distribution_of(module)
            message = f"the module {module!r} hides that of {whose} from everything in the worker"
            yield subject.finding(
                "shadows-library", message, "rename the file", name, 1, severity=Severity.WARNING
            )
        if f"{module}/__init__.py" in names:
            message = f"{name} is never imported: the folder {module!r} comes first"
            yield subject.finding("shadows-file", message, "rename one of them", name, 1)


def _check_imports(subject: Subject, modules: list[_Module]) -> Iterator[Finding]:
    given = _declared(subject)
    # What they bring along, only their files could tell.
    unknown = {name for name in given if not is_distribution(name)}
    yield from _check_captum(subject, modules, given)
    seen: set[str] = set()
    for module in modules:
        for one in module.imports:
            top = one.module.partition(".")[0]
            if one.optional or top in seen or is_standard(top) or _is_own(subject, top):
                continue
            seen.add(top)
            distribution = distribution_of(top)
            if is_installed(top):
                continue
            if given & {normalised(name) for name in (top, *distributions_of(top))} or unknown:
                yield _not_installed(subject, module, one, distribution)
            else:
                message = (
                    f"imports {top}, which is neither in the archive nor installed nor declared"
                )
                hint = _where_to_declare(subject, top, distribution)
                yield subject.presume("missing-import", message, hint, module.entry, one.line)


def _declared(subject: Subject) -> set[str]:
    """Return the names of the distributions that an archive asks a server to install."""
    file = subject.manifest.requirements_file
    return declared(subject.archive.read(file).decode(errors="replace")) if file else set()


def _not_installed(subject: Subject, module: _Module, one: Import, distribution: str) -> Finding:
    file = subject.manifest.requirements_file
    message = f"imports {one.module}, and what {file} declares is not installed here"
    hint = f"pip install {distribution}, to try the archive here"
    found = subject.presume("not-installed", message, hint, module.entry, one.line)
    return replace(found, severity=Severity.WARNING)


def _where_to_declare(subject: Subject, module: str, distribution: str) -> str:
    if subject.project:
        for folder in ("handlers", "model_defs", "."):
            if (subject.project.root / folder / f"{module}.py").is_file():
                path = f"{module}.py" if folder == "." else f"{folder}/{module}.py"
                return f'add it to the archive: extra_files = ["{path}"]'
    install = f"pip install {distribution}, and declare it in requirements_file"
    if is_known(module):
        return install
    return f"if {module}.py is yours, add it to extra_files; else {install}"


def _check_captum(subject: Subject, modules: list[_Module], given: set[str]) -> Iterator[Finding]:
    if is_installed("captum") or "captum" in given:
        return
    hint = "pip install captum, and declare it in requirements_file"
    message = "TorchServe's vision handlers import captum, which torchserve does not install"
    if subject.default_handler in _CAPTUM:
        yield subject.presume("missing-import", message, hint)
        return
    for module in modules:
        for one in module.imports:
            if one.module.removeprefix("ts.torch_handler.") in _CAPTUM and "ts." in one.module:
                yield subject.presume("missing-import", message, hint, module.entry, one.line)
                return
