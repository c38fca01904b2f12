"""Lines on the terminal: errors, findings, JSON; and what no terminal may be sent.

rich decides on colours (NO_COLOR, FORCE_COLOR, TERM=dumb). It is imported only where there may be
some: a command in a pipe starts sooner without it.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from marsmith.core.errors import MarsmithError, WeightsError
from marsmith.core.findings import Finding, FindingsError, Severity

if TYPE_CHECKING:
    from rich.console import Console

Part = str | tuple[str, str]  # a text, or a text and its style
_JSON = "marsmith.json"  # in the meta of a click context: whether --json was given
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
_ASCII = {"…": "...", "→": "->", "·": "-", "\N{MULTIPLICATION SIGN}": "x"}
_ENCODABLE = "marsmith-ascii"


def echo(*parts: Part, err: bool = False) -> None:
    """Print a line, neither wrapped nor cut."""
    plainly = "".join(part if isinstance(part, str) else part[0] for part in parts)
    if not is_terminal(err=err) and not os.environ.get("FORCE_COLOR"):
        click.echo(plainly, err=err)
        return
    from rich.text import Text

    rich_console(stderr=err).print(Text.assemble(*parts), soft_wrap=True)


def rich_console(**options: Any) -> Console:
    """Return a terminal as rich writes to it; NO_COLOR turns off bold and dim letters, too."""
    from rich.console import Console

    if no_styles():
        options["color_system"] = None
    return Console(highlight=False, emoji=False, **options)


def no_styles() -> bool:
    """Whether the user wants plain text alone."""
    return bool(os.environ.get("NO_COLOR"))


def is_terminal(*, err: bool = False) -> bool:
    """Whether standard output (or standard error) is a terminal."""
    return (sys.stderr if err else sys.stdout).isatty()


def print_error(error: MarsmithError) -> None:
    """Print `error[CODE]: message` and its hint, after the findings that it stands for."""
    if isinstance(error, FindingsError):
        print_findings(error.findings)
    echo((f"error[{error.code}]: ", "red"), plain(error.message), err=True)
    echo(f"  hint: {plain(error.hint)}", err=True)


def print_findings(findings: Iterable[Finding]) -> None:
    """Print each finding as `file:line: severity[RULE]: message` with its hint below."""
    for finding in findings:
        for line in finding_lines(finding):
            echo(*line, err=True)


def finding_lines(finding: Finding) -> Iterator[tuple[Part, ...]]:
    """Yield the parts of each line of a finding."""
    place = f"{finding.location}: " if finding.location else ""
    rule = f"[{finding.rule}]" if finding.rule else ""
    label = (f"{finding.severity.value}{rule}: ", _COLOURS[finding.severity])
    yield plain(place), label, plain(finding.message)
    yield (f"  hint: {plain(finding.hint)}",)


def print_warning(message: str, hint: str = "") -> None:
    """Print a warning, and what to do about it."""
    echo(("warning: ", "yellow"), plain(message), err=True)
    if hint:
        echo(f"  hint: {plain(hint)}", err=True)


def plain(text: str) -> str:
    """Escape what a terminal would act on; names and messages may come from any archive."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Escape line breaks and tabs too."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


# ---- for other programs


def note_json(context: click.Context, _param: click.Parameter, value: bool) -> bool:
    """Keep in mind that the command prints JSON: its errors are JSON too."""
    context.meta[_JSON] = value
    return value


def wants_json(context: click.Context | None) -> bool:
    """Whether the command was given --json."""
    return bool(context and context.meta.get(_JSON))


def print_json(value: Any) -> None:
    """Print a value for other programs."""
    click.echo(json.dumps(value, indent=2))


def print_json_error(error: MarsmithError) -> None:
    """Print an error in one line, as `logs --json` prints everything."""
    findings = error.findings if isinstance(error, FindingsError) else ()
    values = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "findings": [finding_values(finding) for finding in findings],
    }
    click.echo(json.dumps({"error": values}))


def finding_values(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values."""
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "message": finding.message,
        "hint": finding.hint,
        "file": finding.file,
        "line": finding.line,
    }


# ---- texts


def file_size(size: int) -> str:
    """Return bytes as a person reads them, in units of 1000."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def short_digest(digest: str) -> str:
    """Return a digest, on a terminal as much of it as leaves room on the line."""
    return f"{digest[:12]}…" if is_terminal() else digest


def duration(seconds: float) -> str:
    """Return a time as a person reads it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def accept_any_encoding() -> None:
    """Let no character fail to be printed, whatever the locale: … becomes ... where it has to."""
    codecs.register_error(_ENCODABLE, _encodable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ENCODABLE)


def _encodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_ASCII.get(c) or ascii(c)[1:-1] for c in text), error.end


def examples(*lines: str) -> str:
    """Return the end of a help text: examples, as they are typed."""
    title = "Example" if len(lines) == 1 else "Examples"
    return "\n".join(["\b", f"{title}:", *(f"  {line}" for line in lines)])


@contextmanager
def naming(file: Path, *others: Path) -> Iterator[None]:
    """Have errors name the file, also those of its parts."""
    try:
        yield
    except WeightsError as error:
        if any(error.message.startswith(str(one)) for one in (file, *others)):
            raise
        raise WeightsError(f"{file}: {error.message}", error.hint, code=error.code) from error
