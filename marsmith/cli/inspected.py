"""How the contents of an archive are shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
from rich.text import Text

from marsmith.cli.output import file_size
from marsmith.cli.tables import (
    Cell,
    print_cells,
    print_heading,
    print_line,
    print_pairs,
    print_table,
)
from marsmith.inspect.describe_body import Body
from marsmith.inspect.model_layers import Layer
from marsmith.inspect.summary import Inspection, Weights
from marsmith.project.spec import DEFAULT_HANDLERS
from marsmith.weights.any_format import ModelFile
from marsmith.weights.pickle_names import shown

_MOST_LAYERS = 16
_MOST_OPERATORS = 8
_MOST_FILES = 60
_MOST_KEYS = 8


def print_inspection(inspection: Inspection) -> None:
    """Print what a person wants to know."""
    version = inspection.model.get("modelVersion")
    title = inspection.model.get("modelName") or inspection.name
    print_heading(shown(f"{title} {version}" if version is not None else str(title)))
    print_pairs(_facts(inspection))
    for weights in inspection.weights:
        _print_weights(weights)
    if inspection.examples:
        print_heading("samples")
        rows = [
            (shown(one.name), _body(one.request), _body(one.response))
            for one in inspection.examples
        ]
        print_table(("name", "request", "answer"), rows, indent=2)
    for title, values in (
        ("serving", inspection.serving),
        ("handler_config", inspection.handler_config),
    ):
        if values:
            print_heading(title)
            print_pairs((shown(key), _value(one)) for key, one in values.items())
    if inspection.requirements:
        print_heading("requirements")
        for line in inspection.requirements:
            print_line(shown(line))
    _print_files(inspection)
    if inspection.problems:
        print_heading("unreadable")
        print_pairs((part, shown(problem)) for part, problem in inspection.problems.items())


def _facts(inspection: Inspection) -> Iterable[tuple[str, Cell]]:
    model, manifest = inspection.model, inspection.manifest
    names = {entry.name for entry in inspection.entries}
    yield "archive", f"{inspection.path}"
    yield "", f"{inspection.form} of {len(inspection.entries)} files, {file_size(inspection.size)}"
    yield "sha256", inspection.digest
    if inspection.signature:
        key = f"names the key {inspection.signed_by[:16]}" if inspection.signed_by else "damaged"
        yield "signature", f"{inspection.signature.name}, {key}; to check it: verify-signature"
    else:
        yield "signature", "none"
    handler = model.get("handler")
    yield "handler", _handler(str(handler), names) if handler else "not named"
    if model.get("modelFile"):
        yield "model file", _file(str(model["modelFile"]), names)
    if model.get("envelope"):
        yield "envelope", shown(str(model["envelope"]))
    yield "runtime", shown(str(manifest.get("runtime", "not named")))
    version = manifest.get("archiverVersion")
    made = f"torch-model-archiver {version}" if version else "unknown archiver"
    yield "made by", shown(made + (f", {manifest['createdOn']}" if "createdOn" in manifest else ""))


def _handler(handler: str, names: set[str]) -> Cell:
    file, colon, function = handler.partition(":")
    if file in DEFAULT_HANDLERS and f"{file}.py" not in names:
        return f"{file}, TorchServe's own"
    named = file if file in names or not colon else f"{file.removesuffix('.py')}.py"
    return _file(named, names).append(f", function {shown(function)}" if colon else "")


def _file(name: str, names: set[str]) -> Text:
    missing = "" if name in names else " (not in the archive)"
    return Text.assemble(shown(name), (missing, "red"))


def _print_weights(weights: Weights) -> None:
    print_heading(f"weights {shown(weights.name)}")
    if weights.file is None:
        print_pairs([("unreadable", shown(weights.problem))])
        return
    print_pairs(_weights_facts(weights, weights.file))
    # Exported programs also hold shapes and indices, which are not layers.
    layers = [layer for layer in weights.layers(_MOST_LAYERS) if layer.parameters]
    if layers:
        click.echo()
        rows = map(_layer_cells, layers[:_MOST_LAYERS])
        print_table(("layer", "parameters", ""), rows, right=("parameters",), indent=2)
    if len(layers) > _MOST_LAYERS:
        click.echo(f"  and {len(layers) - _MOST_LAYERS} more (--json lists all)")


def _weights_facts(weights: Weights, file: ModelFile) -> Iterable[tuple[Cell, str]]:
    kind = file.kind + (f", a whole module of {file.object_name}" if file.object_name else "")
    yield "kind", f"{shown(kind)}, {file_size(weights.size or 0)}"
    if file.program and file.program.writer:
        yield "written by", shown(file.program.writer)
    if weights.tensors:
        dtypes = weights.dtypes.most_common()
        listed = ", ".join(f"{n} {dtype}" if len(dtypes) > 1 else dtype for dtype, n in dtypes)
        yield "tensors", f"{len(weights.tensors):,} ({listed})"
        yield "parameters", f"{weights.parameters:,}"
    if file.program:
        for title, given in (("input", file.program.inputs), ("output", file.program.outputs)):
            yield from ((title, shown(one)) for one in given)
        if operators := file.program.operators.most_common():
            listed = ", ".join(
                f"{count} {shown(name)}" for name, count in operators[:_MOST_OPERATORS]
            )
            more = len(operators) - _MOST_OPERATORS
            yield "operators", listed + (f", {more} more kinds" if more > 0 else "")
    if file.code:
        yield "imports", f"loading it runs code: {', '.join(file.code[:6])}"
    if file.hostile:
        yield Text("attack", "red"), f"do not load it: {', '.join(file.hostile[:6])}"


def _layer_cells(layer: Layer) -> tuple[str, str, str]:
    if layer.modules > 1:
        text = f"{layer.modules} modules"
    else:
        shapes = layer.shapes.items()
        text = ", ".join(f"{name} {' x '.join(map(str, s)) or 'scalar'}" for name, s in shapes)
    return shown(layer.name) or "(root)", f"{layer.parameters:,}", shown(text)


def _body(body: Body) -> str:
    facts, size = body.facts, file_size(body.size)
    if body.kind == "picture":
        return "{format}, {width} x {height} {mode}, ".format(**facts) + size
    if body.kind != "JSON":
        return f"{body.kind}, {size}"
    if keys := facts.get("keys"):
        more = ", …" if len(keys) > _MOST_KEYS else ""
        return shown(f"JSON {facts['type']}: {', '.join(keys[:_MOST_KEYS])}{more}")
    length = f" of {facts['length']}" if "length" in facts else ""
    return f"JSON {facts['type']}{length}, {size}"


def _value(value: Any) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _print_files(inspection: Inspection) -> None:
    print_heading("files")
    entries = inspection.entries
    print_cells([(shown(one.name), file_size(one.size)) for one in entries[:_MOST_FILES]])
    if len(entries) > _MOST_FILES:
        click.echo(f"  and {len(entries) - _MOST_FILES} more (--json lists all)")
