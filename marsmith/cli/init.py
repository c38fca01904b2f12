"""`marsmith init`: a project in this folder, for a file of weights or from a template."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from marsmith.cli.output import examples, naming, print_error, print_warning
from marsmith.cli.progress import working
from marsmith.core.errors import MarsmithError
from marsmith.init.class_names import read_classes
from marsmith.init.own_class import plan_for_own_class
from marsmith.init.plan import Plan
from marsmith.init.recognise import EMBEDDING
from marsmith.init.record import record_answer
from marsmith.init.start import Recognised, prove, recognise, template_plan
from marsmith.init.starter import Written, require_new, write_project
from marsmith.init.templates import TEMPLATES

_EXAMPLE = "marsmith init flowers --weights best.pth --classes daisy,rose,tulip"
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=examples(_EXAMPLE, "marsmith init shapes --template segmenter"))
@click.argument("name")
@click.option("--weights", metavar="FILE", type=_file, help="What the training saved.")
@click.option("--key", metavar="PLACE", help="Which state_dict, if the file holds several.")
@click.option(
    "--classes",
    metavar="NAME,…",
    help="Class names, in the order of the training; or a .txt file with one a line.",
)
@click.option(
    "--template",
    type=click.Choice(list(TEMPLATES)),
    help="Start with a small model of this kind, with random weights.",
)
@click.option(
    "--model-file",
    metavar="FILE",
    type=_file,
    help="Your own network: a file with one class. --template then says which kind it is.",
)
@click.pass_context
def init(
    context: click.Context,
    name: str,
    weights: Path | None,
    key: str | None,
    classes: str | None,
    template: str | None,
    model_file: Path | None,
) -> None:
    """Write a project for the archive NAME into this folder.

    The architecture of --weights is recognised among torchvision's models, and timm's if it is
    installed. The file is read, never executed. No file that exists is overwritten.
    """
    root = Path(context.find_root().obj or Path.cwd())
    require_new(root, name)
    named = read_classes(classes) if classes is not None else ()
    with _plan(root, name, weights, key, named, template, model_file) as plan:
        done = write_project(root, plan)
    _show(plan, done)
    _record(root, plan, done)
    click.echo("\nnext: marsmith build && marsmith check && marsmith serve")


@contextmanager
def _plan(
    root: Path,
    name: str,
    weights: Path | None,
    key: str | None,
    classes: Sequence[str],
    template: str | None,
    model_file: Path | None,
) -> Iterator[Plan]:
    if weights is None:
        if model_file:
            raise click.UsageError("--model-file needs --weights")
        if template is None:
            raise click.UsageError("give --weights FILE, or --template KIND to start without")
        with template_plan(name, template, classes) as plan:
            yield plan
    elif model_file:
        kind = template or "classifier"
        with naming(weights), working("comparing your network with the weights"):
            plan = plan_for_own_class(root, name, model_file, weights, kind, classes, key)
        yield plan
    elif template:
        raise click.UsageError("--template goes without --weights, or with --model-file")
    else:
        with naming(weights), working(f"recognising the architecture of {weights}"):
            found = recognise(weights, key)
        if found.weights.kind:
            click.echo(f"{weights} is {found.weights.kind}; the model alone is taken")
        choice = _chosen(found)
        named = classes or _asked_classes(found)
        plan = found.plan(name, choice, named)
        with working("comparing the network with the weights"):
            prove(plan)
        yield plan


def _chosen(found: Recognised) -> int:
    """Return which of the models that fit is meant."""
    titles = [model.title for _, model in found.fits]
    click.echo(f"recognised: {titles[0]}, {found.told_apart}")
    if len(titles) == 1:
        return 0
    click.echo(f"fits equally: {', '.join(titles[1:])}")
    if not _is_terminal():
        return 0
    for number, title in enumerate(titles, 1):
        click.echo(f"  {number}  {title}")
    number = click.prompt("Which one is it?", default=1, type=click.IntRange(1, len(titles)))
    return int(number) - 1


def _asked_classes(found: Recognised) -> tuple[str, ...]:
    known = found.known_classes()
    if known or found.task == EMBEDDING or not _is_terminal():
        return known
    text = click.prompt(
        f"Names of the {found.told_apart}, in the order of the training (Enter: not now)",
        default="",
        show_default=False,
    )
    return read_classes(text) if text.strip() else ()


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _show(plan: Plan, done: Written) -> None:
    for verb, paths in (("wrote", done.written), ("added to", done.extended), ("kept", done.left)):
        for path in paths:
            click.echo(f"{verb:10} {path}")
    for note in plan.notes:
        click.echo(f"{'note':10} {note}")


def _record(root: Path, plan: Plan, done: Written) -> None:
    """Record what the model answers now, so that `check` and `serve` can compare."""
    name = plan.names.archive
    try:
        with working(f"recording an answer of {name}"):
            record_answer(root, name, done.picture)
    except MarsmithError as error:
        print_error(error)
        hint = f"correct that, then: marsmith sample {name} {done.picture}"
        print_warning(f"no answer to {done.picture} is recorded", hint, rule="not-recorded")
    else:
        click.echo(f"{'recorded':10} the answer to {done.picture}")
