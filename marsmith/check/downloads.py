"""Which calls in a Python file fetch weights from the network when it runs; text in, no IO."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from marsmith.project.python_imports import bound_names
from marsmith.project.python_outline import is_plain_function


@dataclass(frozen=True)
class Download:
    """A call that fetches weights from the network when it runs."""

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
# Whose functions download; those of the same name elsewhere are somebody's own.
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
    """Return the calls that torchvision, torch.hub, timm and transformers answer by downloading.

    What only runs when the file is started as a program does not count, nor what is done under a
    condition (`if pretrained:`), nor what functions do that nobody calls. `own` are modules of
    one's own, whatever library has the same name.
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
    """Say what to do instead of a call that downloads; None of one that does not."""
    name = _full_name(node.func, bound)
    if not any(name.startswith(f"{source}.") for source in _SOURCES):
        return None
    last = name.rpartition(".")[2]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if name == "torch.hub.load":
        local = _is_constant(keywords.get("source"), "local")
        remedy = "put the model's own code into model_file, and its weights into the archive"
        return None if local else remedy
    if last in _LOADERS:
        return _LOADERS[last]
    if last == "from_pretrained":
        hub = bool(node.args) and _is_hub_name(node.args[0])
        return "save the model into a folder, ship it, and load that" if hub else None
    if key := _pretrained(name, node, keywords, bound):
        return f"{key}; the archive's weights follow anyway"
    return None


def _pretrained(
    name: str, node: ast.Call, keywords: Mapping[str, ast.expr], bound: Mapping[str, str]
) -> str | None:
    """Return how to switch off the pretrained weights that a model is asked for with."""
    for key in ("pretrained", "pretrained_backbone"):
        if _is_constant(keywords.get(key), True):
            return f"{key}=False"
    for key in ("weights", "weights_backbone", "encoder_weights"):
        value = keywords.get(key)
        named = isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value
        if named or (isinstance(value, ast.Attribute) and "_Weights" in _full_name(value, bound)):
            return f"{key}=None"
    # Until torchvision 0.13, `pretrained` was the first argument, and it still counts.
    old = name.startswith("torchvision.models.") and _is_constant([*node.args, None][0], True)
    return "weights=None" if old else None


def _full_name(node: ast.expr, bound: Mapping[str, str]) -> str:
    """Return what a dotted expression stands for, by the imports of its file."""
    root, dot, rest = ast.unparse(node).partition(".")
    return f"{bound.get(root, '')}{dot}{rest}"


def _is_constant(node: ast.expr | None, value: object) -> bool:
    same_type = isinstance(node, ast.Constant) and type(node.value) is type(value)  # 1 == True
    return isinstance(node, ast.Constant) and same_type and node.value == value


def _is_hub_name(node: ast.expr) -> bool:
    """Tell a name on a hub, `owner/model` or `model`, from a path and from what is computed."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value[:1] not in "./"
    )
