"""`marsmith weights`: what a weights file holds, and its state_dict alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from marsmith.cli.options import json_option
from marsmith.cli.output import echo, examples, file_size, naming, print_json
from marsmith.cli.progress import working
from marsmith.cli.tables import print_table
from marsmith.weights.checkpoint import (
    Checkpoint,
    is_module,
    parts_of,
    read_checkpoint,
    tensors_within,
)
from marsmith.weights.extract import extract as extract_state_dict
from marsmith.weights.find_state_dict import training_checkpoint
from marsmith.weights.pickle_names import shown
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.state_dict_names import dotted, is_training_state
from marsmith.weights.tensors import Tensor

_file = click.Path(path_type=Path)
_LOOKED_AT = 1_000_000_000  # bytes of values; more would take too long


@click.group(
    epilog=examples(
        "marsmith weights inspect checkpoint.pth",
        "marsmith weights extract checkpoint.pth --out weights/flowers.pth",
    )
)
def weights() -> None:
    """List what a weights file holds, or extract its state_dict; no code in it is executed."""


@weights.command(
    short_help="List the tensors in a file, and what else is in it.",
    epilog=examples("marsmith weights inspect checkpoint.pth"),
)
@click.argument("file", type=_file)
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """List the tensors in FILE, and what else is in it."""
    with naming(file), working(f"reading {file}"):
        checkpoint = read_checkpoint(file)
        described = _described(checkpoint)
    (_print_json if as_json else _print)(checkpoint, described)


@weights.command(
    short_help="Write the state_dict of a checkpoint to a file.",
    epilog=examples(
        "marsmith weights extract checkpoint.pth --out weights/flowers.safetensors",
        "marsmith weights extract wrapped.pth --strip-prefix net --out weights/flowers.pth",
    ),
)
@click.argument("checkpoint", type=_file)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=_file,
    help=".pth, .pt or .safetensors.",
)
@click.option(
    "--key",
    "keys",
    metavar="PLACE",
    multiple=True,
    help="Which state_dict, if there are several. Can be repeated: several are joined.",
)
@click.option(
    "--strip-prefix", metavar="NAME", default="", help="Take it off; other tensors are left out."
)
@click.option("--add-prefix", metavar="NAME", default="", help="Put it before all names.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def extract(
    checkpoint: Path,
    out: Path,
    keys: tuple[str, ...],
    strip_prefix: str,
    add_prefix: str,
    force: bool,
) -> None:
    """Write the state_dict in CHECKPOINT, and nothing else from it, to a file."""
    with naming(checkpoint, out), working(f"extracting from {checkpoint}"):
        result = extract_state_dict(
            checkpoint, out, keys=keys, prefix=strip_prefix, new_prefix=add_prefix, force=force
        )
    size = sum(tensor.nbytes for tensor in result.tensors.values())
    place = f" of {shown(result.kept)}" if result.kept else ""
    click.echo(f"wrote    {out}: {_tensors(len(result.tensors))}{place}, {file_size(size)}")
    for prefix in result.prefixes:
        click.echo(f"renamed  {prefix}NAME to NAME")
    if strip_prefix or add_prefix:
        click.echo(f"renamed  {dotted(strip_prefix)}NAME to {dotted(add_prefix)}NAME")
    if result.dropped:
        click.echo(f"dropped  {_listed(result.dropped)}")


def _described(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    total = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    return {
        name: {
            "shape": list(tensor.shape),
            "dtype": tensor.dtype,
            "size": tensor.nbytes,
            "notFinite": tensor.count_not_finite() if total <= _LOOKED_AT else None,
        }
        for name, tensor in checkpoint.tensors.items()
    }


def _print_json(checkpoint: Checkpoint, described: dict[str, dict[str, Any]]) -> None:
    print_json(
        {
            "file": str(checkpoint.path),
            "kind": checkpoint.kind,
            "object": checkpoint.value.name if isinstance(checkpoint.value, Inert) else None,
            "size": checkpoint.path.stat().st_size,
            "totals": _totals(checkpoint),
            "tensors": described,
            "others": {name: _json(value) for name, value in _others(checkpoint)},
            "code": sorted(checkpoint.foreign),
            "hostile": checkpoint.hostile,
        }
    )


def _print(checkpoint: Checkpoint, described: dict[str, dict[str, Any]]) -> None:
    click.echo(
        f"{checkpoint.path}: {_kind(checkpoint)}, {file_size(checkpoint.path.stat().st_size)}"
    )
    listed = {n: one for n, one in described.items() if not is_training_state(n.partition(".")[0])}
    if listed:
        rows = [(shown(name), *_cells(one)) for name, one in listed.items()]
        print_table(("tensor", "shape", "dtype", "size", ""), rows, right=("size",))
    totals = _totals(checkpoint)
    text = f"{_tensors(totals['tensors'])}, {totals['values']:,} values, "
    text += file_size(totals["size"])
    if len(listed) < len(described):
        text += f"; {len(described) - len(listed)} belong to the training (--json lists them)"
    click.echo(text)
    if any(one["notFinite"] is None for one in described.values()):
        click.echo(f"not searched for NaN: it has more than {file_size(_LOOKED_AT)}")
    if kind := training_checkpoint(checkpoint):
        click.echo(f"it is {kind}")
    for name, value in _others(checkpoint):
        click.echo(f"also: {shown(name)}: {_text(value)}")
    if checkpoint.kind == "TorchScript":
        click.echo("the file holds a program, which runs when the model is called")
    elif checkpoint.foreign:
        click.echo(f"loading it would import: {_listed(sorted(checkpoint.foreign))}")
    if checkpoint.hostile:
        echo(("do not load it: ", "red"), f"{_listed(checkpoint.hostile)} has no use in weights")


def _kind(checkpoint: Checkpoint) -> str:
    if checkpoint.is_module:
        return f"{checkpoint.kind}, a whole module of {checkpoint.value.name}"
    if isinstance(checkpoint.value, Inert):
        return f"{checkpoint.kind}, an object of {checkpoint.value.name}"
    return checkpoint.kind


def _totals(checkpoint: Checkpoint) -> dict[str, int]:
    tensors = checkpoint.tensors.values()
    return {
        "tensors": len(tensors),
        "values": sum(tensor.count for tensor in tensors),
        "size": sum(tensor.nbytes for tensor in tensors),
    }


def _cells(tensor: dict[str, Any]) -> tuple[str, ...]:
    shape = " x ".join(map(str, tensor["shape"])) or "scalar"
    bad = f"{tensor['notFinite']} NaN or infinite" if tensor["notFinite"] else ""
    return shape, tensor["dtype"], file_size(tensor["size"]), bad


def _others(checkpoint: Checkpoint) -> list[tuple[str, Any]]:
    """Return the entries of a checkpoint that are not tensors of the model."""
    return [
        (name, value)
        for name, value in parts_of(None if checkpoint.is_module else checkpoint.value)
        if not isinstance(value, Tensor) or is_training_state(name)
    ]


def _json(value: Any) -> Any:
    """Return a value as JSON has it, or in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value if value is None or isinstance(value, (str, int, float)) else _text(value)


def _text(value: Any) -> str:
    tensors = [tensor for _, tensor in tensors_within(value)]
    size = f"{_tensors(len(tensors))}, {file_size(sum(t.nbytes for t in tensors))}"
    if isinstance(value, Inert):
        kind = "a whole module of" if is_module(value) else "an object of"
        return f"{kind} {value.name}" + (f": {size}" if tensors else "")
    if isinstance(value, (Tensor, dict, list, tuple, set, frozenset)):
        if tensors or isinstance(value, Tensor):
            return size
        return f"{type(value).__name__} of {len(value)}"
    return _short(repr(value[:200] if isinstance(value, (str, bytes, bytearray)) else value))


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"


def _listed(names: Any) -> str:
    return ", ".join(map(shown, names[:6])) + (
        f", and {len(names) - 6} more" if len(names) > 6 else ""
    )


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
