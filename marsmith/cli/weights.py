"""`marsmith weights`: what a file of weights holds, and the state_dict alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marsmith.checkpoint import Checkpoint, read_checkpoint
from marsmith.cli.options import json_option
from marsmith.cli.output import file_size, print_json, print_table
from marsmith.extracting import extract as extract_state_dict
from marsmith.inert_pickle import Inert
from marsmith.tensors import Tensor

_file = click.Path(path_type=Path)


@click.group()
def weights() -> None:
    """Look into files of weights, and take the state_dict out; nothing in them is executed."""


@weights.command()
@click.argument("file", type=_file)
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """List the tensors in FILE, and what else is in it."""
    checkpoint = read_checkpoint(file)
    tensors, others = checkpoint.tensors, dict(_others(checkpoint))
    described = {name: _described(tensor) for name, tensor in tensors.items()}
    if as_json:
        print_json(
            {
                "file": str(file),
                "kind": _kind(checkpoint),
                "size": file.stat().st_size,
                "tensors": described,
                "others": others,
                "code": sorted(checkpoint.foreign),
            }
        )
        return
    click.echo(f"{file}: {_kind(checkpoint)}, {file_size(file.stat().st_size)}")
    rows = [(name, *_cells(one)) for name, one in described.items()]
    print_table(("tensor", "shape", "dtype", "size", ""), rows)
    total = sum(tensor.nbytes for tensor in tensors.values())
    count = sum(tensor.count for tensor in tensors.values())
    click.echo(f"{len(tensors)} tensors, {count:,} values, {file_size(total)}")
    for name, text in others.items():
        click.echo(f"also: {name} = {text}")
    if checkpoint.foreign:
        click.echo(f"loading it would import: {', '.join(sorted(checkpoint.foreign))}")


@weights.command()
@click.argument("checkpoint", type=_file)
@click.option("--out", required=True, type=_file, help=".pth, .pt or .safetensors")
@click.option("--key", metavar="PLACE", help="which state_dict, where there are several")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def extract(checkpoint: Path, out: Path, key: str | None, force: bool) -> None:
    """Write the state_dict within CHECKPOINT, and nothing else of it, to a file."""
    result = extract_state_dict(checkpoint, out, key=key, force=force)
    size = sum(tensor.nbytes for tensor in result.tensors.values())
    place = f" of {result.kept}" if result.kept else ""
    click.echo(f"wrote      {out}: {len(result.tensors)} tensors{place}, {file_size(size)}")
    for prefix in result.prefixes:
        click.echo(f"renamed    {prefix}NAME to NAME")
    if result.dropped:
        click.echo(f"dropped    {_short(', '.join(result.dropped))}")


def _kind(checkpoint: Checkpoint) -> str:
    return checkpoint.kind + (", a whole module" if checkpoint.is_module else "")


def _described(tensor: Tensor) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "size": tensor.nbytes,
        "bad": tensor.count_not_finite(),
    }


def _cells(tensor: dict[str, Any]) -> tuple[str, ...]:
    shape = " x ".join(map(str, tensor["shape"])) or "scalar"
    bad = f"{tensor['bad']} NaN or infinite" if tensor["bad"] else ""
    return shape, tensor["dtype"], file_size(tensor["size"]), bad


def _others(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Return what stands at the top of a checkpoint beside tensors, in short."""
    if not isinstance(checkpoint.value, dict):
        return []
    return [
        (str(name), _text(value))
        for name, value in checkpoint.value.items()
        if not isinstance(value, Tensor)
    ]


def _text(value: Any) -> str:
    if isinstance(value, Inert):
        return f"an object of {value.name}"
    if isinstance(value, (dict, list, tuple, set)):
        return f"{type(value).__name__.strip('_').lower()} of {len(value)}"
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
