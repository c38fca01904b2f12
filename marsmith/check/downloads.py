"""Find the calls in a Python file that download weights when they run; no IO."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from marsmith.project.python_imports import bound_names
from marsmith.project.python_outline import is_plain_function


@dataclass(frozen=True)
class Download:
    """A call that downloads weights when it runs."""

    call: str
    line: int
    remedy: str


_ONCE = "download the file once and put it into the archive"
_LOADERS = {
    "load_state_dict_from_url": _ONCE,
    "download_url_to_file": _ONCE,
    "load_url": _ONCE,
    "urlretrieve": _ONCE,
    "hf_hub_download": _ONCE,
    "snapshot_download": "download the files once and put them into the archive",
}
# Only functions of these modules count; others may have the same names.
_SOURCES = (
    "torch.hub",
    "torch.utils.model_zoo",
    "torchvision",
    "torchaudio",
    "timm",
    "transformers",
    "diffusers",
    "huggingface_hub",
    "sentence_transformers",
    "segmentation_models_pytorch",
    "open_clip",
    "pretrainedmodels",
    "urllib.request",
)


def downloads(
    tree: ast.AST, unused: Collection[str] = (), own: Collection[str] = ()
) -> list[Download]:
    """Return the calls of torchvision, torch.hub, timm, transformers and others that download.

    Calls under a condition do not count (`if pretrained:`, `if __name__ == "__main__":`), nor calls
    in the `unused` functions. `own` are the archive's own modules, which may be named like a
    library.
    """
    bound = bound_names(tree)
    others = {name: one for name, one in bound.items() if one.partition(".")[0] not in own}
    return list(_downloads(tree, unused, others))


def _downloads(
    tree: ast.AST, unused: Collection[str], bound: Mapping[str, str]
) -> Iterator[Download]:
    if isinstance(tree, (ast.If, ast.IfExp)):
        return
    if is_plain_function(tree) and tree.name in unused:
        return
    if isinstance(tree, ast.Call) and (remedy := _remedy(tree, bound)):
        shown = ast.unparse(tree)
        shown = shown if len(shown) <= 80 else f"{ast.unparse(tree.func)}(…)"
        yield Download(shown, tree.lineno, remedy)
    for node in ast.iter_child_nodes(tree):
        yield from _downloads(node, unused, bound)


def _remedy(node: ast.Call, bound: Mapping[str, str]) -> str | None:
    """Return what to do instead of a call that downloads; None for other calls."""
    name = _full_name(node.func, bound)
    if not any(name.startswith(f"{source}.") for source in _SOURCES):
        return None
    last = name.rpartition(".")[2]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if name == "torch.hub.load":
        local = _is_constant(keywords.get("source"), "local")
        remedy = "put the model's code into model_file, and its weights into the archive"
        return None if local else remedy
    if last in _LOADERS:
        return _LOADERS[last]
    if last == "from_pretrained":
        hub = bool(node.args) and _is_hub_name(node.args[0])
        return "put the model's saved folder into the archive, and load that" if hub else None
    if key := _pretrained(name, node, keywords, bound):
        return f"set {key}; the archive's weights are loaded anyway"
    return None


def _pretrained(
    name: str, node: ast.Call, keywords: Mapping[str, ast.expr], bound: Mapping[str, str]
) -> str | None:
    """Return the argument that switches off a call's pretrained weights, or None."""
    for key in ("pretrained", "pretrained_backbone"):
        if _is_constant(keywords.get(key), True):
            return f"{key}=False"
    for key in ("weights", "weights_backbone", "encoder_weights"):
        value = keywords.get(key)
        named = isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value
        if named or (isinstance(value, ast.Attribute) and "_Weights" in _full_name(value, bound)):
            return f"{key}=None"
    # Before torchvision 0.13, `pretrained` was the first argument; torchvision still accepts it.
    old = name.startswith("torchvision.models.") and _is_constant([*node.args, None][0], True)
    return "weights=None" if old else None


def _full_name(node: ast.expr, bound: Mapping[str, str]) -> str:
    """Return the full name of a dotted expression, resolved by the imports of its file."""
    root, dot, rest = ast.unparse(node).partition(".")
    return f"{bound.get(root, '')}{dot}{rest}"


def _is_constant(node: ast.expr | None, value: object) -> bool:
    same_type = isinstance(node, ast.Constant) and type(node.value) is type(value)  # 1 == True
    return isinstance(node, ast.Constant) and same_type and node.value == value


def _is_hub_name(node: ast.expr) -> bool:
    """Return whether an argument is a name on a hub (`owner/model`), not a path or a variable."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value[:1] not in "./"
    )
