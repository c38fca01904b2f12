"""What a Python file imports when it is imported itself; text in, names out; no IO."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeGuard


@dataclass(frozen=True)
class Import:
    """An imported module, its line, and whether the file can do without it."""

    module: str  # dotted, absolute
    line: int
    optional: bool  # within try, if or with, or only when a function runs


def imports(tree: ast.Module, package: str = "") -> list[Import]:
    """Return all imports of a file; `package` is where relative ones start."""
    return list(_imports(tree.body, package, optional=False))


def _imports(body: list[ast.stmt], package: str, *, optional: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, optional) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: -node.level + 1 or None] if node.level else []
            module = ".".join(filter(None, [*parts, node.module]))
            if module:
                yield Import(module, node.lineno, optional)
        elif not _is_for_type_checkers(node):
            for field in ("body", "handlers", "orelse", "finalbody", "cases"):
                inner = getattr(node, field, [])
                certain = isinstance(node, ast.ClassDef) or field == "finalbody"
                yield from _imports(inner, package, optional=optional or not certain)


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


@dataclass(frozen=True)
class Download:
    """A call that fetches weights from the network when it runs."""

    call: str
    line: int
    remedy: str


_LOADERS = {
    "load_state_dict_from_url": "download the file once and put it into the archive",
    "download_url_to_file": "download the file once and put it into the archive",
    "urlretrieve": "download the file once and put it into the archive",
    "hf_hub_download": "download the file once and put it into the archive",
    "snapshot_download": "download the files once and put them into the archive",
}


def unused_functions(trees: Iterable[ast.AST], called: Collection[str] = ()) -> set[str]:
    """Return the functions of these files that run only when one is started as a program.

    `called` are those that somebody else calls.
    """
    trees, unused = list(trees), set[str]()
    while True:
        nodes = [node for tree in trees for node in _walk(tree, unused)]
        plain = {one.name for one in nodes if _is_plain_function(one)}
        more = plain - {_name(node) for node in nodes} - set(called)
        if not more:
            return unused
        unused |= more


def _is_plain_function(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    """Whether a function is called by its name alone: no method, nor of use to a decorator."""
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        return False
    return [one.arg for one in node.args.args[:1]] not in (["self"], ["cls"])


def _walk(tree: ast.AST, unused: Collection[str]) -> Iterator[ast.AST]:
    """Yield what runs when a file is imported and its functions are called."""
    if isinstance(tree, ast.If) and "__name__" in ast.unparse(tree.test):
        return
    if _is_plain_function(tree) and tree.name in unused:
        return
    yield tree
    for node in ast.iter_child_nodes(tree):
        yield from _walk(node, unused)


def _name(node: ast.AST) -> str | None:
    """Return the name that an expression or an import uses."""
    if isinstance(node, ast.alias):
        return node.name
    return getattr(node, "attr", None) or getattr(node, "id", None)


def downloads(tree: ast.AST, unused: Collection[str] = ()) -> list[Download]:
    """Return the calls that torchvision, torch.hub, timm and transformers answer by downloading.

    What only runs when the file is started as a program does not count, nor what is done under a
    condition (`if pretrained:`), nor what functions do that nobody calls.
    """
    if isinstance(tree, (ast.If, ast.IfExp)):
        return []
    if _is_plain_function(tree) and tree.name in unused:
        return []
    own = _download(tree) if isinstance(tree, ast.Call) else None
    below = [one for node in ast.iter_child_nodes(tree) for one in downloads(node, unused)]
    return [own, *below] if own else below


def _download(node: ast.Call) -> Download | None:
    name = ast.unparse(node.func)
    last = name.rpartition(".")[2]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    shown = ast.unparse(node)
    shown = shown if len(shown) <= 80 else f"{name}(…)"
    for key in ("pretrained", "pretrained_backbone"):
        if isinstance(value := keywords.get(key), ast.Constant) and value.value is True:
            return Download(shown, node.lineno, f"{key}=False; the archive's weights follow anyway")
    for key in ("weights", "weights_backbone"):
        value = keywords.get(key)
        named = isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value
        if named or (isinstance(value, ast.Attribute) and "_Weights" in ast.unparse(value)):
            return Download(shown, node.lineno, f"{key}=None; the archive's weights follow anyway")
    if name.endswith("hub.load") and not _is_constant(keywords.get("source"), "local"):
        remedy = "put the model's own code into model_file, and its weights into the archive"
        return Download(shown, node.lineno, remedy)
    if last in _LOADERS:
        return Download(shown, node.lineno, _LOADERS[last])
    if last == "from_pretrained" and node.args and _is_hub_name(node.args[0]):
        return Download(shown, node.lineno, "save the model into a folder, ship it, and load that")
    return None


def _is_constant(node: ast.expr | None, value: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _is_hub_name(node: ast.expr) -> bool:
    """Tell a name on a hub, `owner/model` or `model`, from a path and from what is computed."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value[:1] not in "./"
    )
