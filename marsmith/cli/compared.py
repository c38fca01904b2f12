"""How the differences of two archives are shown."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.text import Text

from marsmith.cli.output import file_size, plain
from marsmith.cli.tables import print_heading, print_line, print_pairs, print_table
from marsmith.inspect.diff import SIDES, AnswerComparison, Comparison, WeightsDifference
from marsmith.inspect.file_differences import FileDifference
from marsmith.inspect.tensor_differences import TensorDifference
from marsmith.weights.pickle_names import shown

_MOST_TENSORS = 30
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def print_comparison(comparison: Comparison, *, asked: bool) -> None:
    """Print all differences, and a summary at the end."""
    print_heading("archives")
    archives = zip(SIDES, comparison.archives, strict=True)
    print_table(
        ("", "archive", "sha256"),
        [(side, one.path, f"{one.digest[:12]}…") for side, one in archives],
        indent=2,
    )
    _print_files(comparison.files)
    for part in dict.fromkeys(one.part for one in comparison.values):
        print_heading(part)
        found = [one for one in comparison.values if one.part == part]
        rows = [(shown(one.key), _value(one.before), _value(one.after)) for one in found]
        print_table(("key", *SIDES), rows, indent=2)
    for weights in comparison.weights:
        _print_weights(weights)
    if asked:
        _print_answers(comparison)
    if comparison.problems:
        print_heading("not compared")
        print_pairs((side, shown(problem)) for side, problem in comparison.problems)
    print_heading(_summary(comparison, asked=asked))


def _print_files(files: list[FileDifference]) -> None:
    if not files:
        return
    print_heading("files")
    rows = [(one.kind, shown(one.name), _size(one.before), _size(one.after)) for one in files]
    print_table(("", "file", *SIDES), rows, right=SIDES, indent=2)
    for one in files:
        if one.lines:
            click.echo()
        for line in one.lines:
            print_line(Text(plain(line).expandtabs(4), _COLOURS.get(line[:1], "")))


def _size(size: int | None) -> str:
    return "" if size is None else file_size(size)


def _value(value: Any) -> str:
    return "" if value is None else shown(json.dumps(value, ensure_ascii=False))


def _print_weights(weights: WeightsDifference) -> None:
    first, second = map(shown, weights.names)
    print_heading(f"tensors of {first}" + (f" and {second}" if first != second else ""))
    if weights.problem:
        print_pairs([("not compared", shown(weights.problem))])
        return
    if weights.tensors:
        rows = map(_tensor_cells, weights.tensors[:_MOST_TENSORS])
        print_table(("tensor", "difference", ""), rows, indent=2)
    if len(weights.tensors) > _MOST_TENSORS:
        click.echo(f"  and {len(weights.tensors) - _MOST_TENSORS} more (--json lists all)")
    if weights.same:
        verb = "is" if weights.same == 1 else "are"
        click.echo(f"  {_count(weights.same, 'tensor')} {verb} the same")


def _tensor_cells(tensor: TensorDifference) -> tuple[str, str, str]:
    if tensor.kind in ("missing", "added"):
        side = SIDES[0] if tensor.kind == "missing" else SIDES[1]
        return shown(tensor.name), f"only in {side}", tensor.before or tensor.after
    if tensor.kind == "values":
        return shown(tensor.name), _distance(tensor), tensor.before
    change = f"{tensor.before} → {tensor.after}"
    distance = f", {_distance(tensor)}" if tensor.kind == "dtype" else ""
    return shown(tensor.name), f"{tensor.kind} differs{distance}", change


def _distance(tensor: TensorDifference) -> str:
    parts = [] if tensor.largest is None else [f"at most {tensor.largest:.3g}"]
    if tensor.not_finite:
        parts.append(f"{tensor.not_finite:,} NaN or infinite in one")
    return ", ".join([*parts, f"{_count(tensor.count, 'value')}"])


def _print_answers(comparison: Comparison) -> None:
    print_heading("answers")
    failures = comparison.load_failures.items()
    print_pairs((f"{side} does not load", _one_line(text)) for side, text in failures)
    if not comparison.answers and not comparison.load_failures:
        click.echo("  neither archive has a sample")
    if comparison.answers:
        rows = [
            (shown(one.request), " ".join(one.sides), _answer(one)) for one in comparison.answers
        ]
        print_table(("sample", "of", "difference"), rows, fold=("difference",), indent=2)


def _one_line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _answer(answer: AnswerComparison) -> str:
    found = answer.difference
    if found is None:
        return "same"
    parts = [shown(one) for one in found.others]
    if found.mean is not None:
        within = " (within tolerance)" if found.mean <= answer.tolerance else ""
        return "; ".join([*parts, f"mean {found.mean:.3g}, at most {found.largest:.3g}{within}"])
    if found.largest is not None:
        within = " (within tolerance)" if found.largest <= answer.tolerance else ""
        place = f" at {shown(found.place)}" if found.place else ""
        parts.insert(0, f"at most {found.largest:.3g}{place}{within}")
    return "; ".join(parts)


def _summary(comparison: Comparison, *, asked: bool) -> str:
    if comparison.is_same:
        return "same" if asked else "same; answers were not compared"
    differ = [one for one in comparison.answers if one.difference]
    tensors = sum(len(one.tensors) for one in comparison.weights)
    counts = {
        "file": len(comparison.files),
        "value": len(comparison.values),
        "tensor": tensors,
        "answer": len(differ),
    }
    parts = [_count(count, name) for name, count in counts.items() if count]
    parts += [f"{side} does not load" for side in comparison.load_failures]
    return f"different: {', '.join(parts)}"


def _count(count: int, name: str) -> str:
    return f"{count:,} {name}" + ("" if count == 1 else "s")
