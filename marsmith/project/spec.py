"""`archives.toml`: the files and settings of each archive; no IO.

Keys are torch-model-archiver's flags (model_archiver/arg_parser.py) and TorchServe's
model-config names (frontend, ModelConfig.java), so there is no second vocabulary to learn.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import ValidationError

from marsmith.answers.samples import LARGEST
from marsmith.core.findings import Finding, FindingsError
from marsmith.core.suggestions import did_you_mean
from marsmith.project.gateway_table import read_gateway
from marsmith.project.spec_schema import ARCHIVE, findings_of, validate_archive
from marsmith.project.spec_schema import SPEC_FILE as SPEC_FILE
from marsmith.project.toml_lines import TomlLines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The names torch-model-archiver accepts in place of a handler file (model_packaging_utils.py).
DEFAULT_HANDLERS = (
    "base_handler",
    "dali_image_classifier",
    "image_classifier",
    "image_segmenter",
    "object_detector",
    "text_classifier",
    "trt_llm_handler",
    "vllm_handler",
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")


def is_name(text: str) -> bool:
    """Return whether an archive, and so its model, can have that name."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class SampleSpec:
    """A request and the answer it must get.

    Numbers in it may differ by `tolerance`; values 0…1 of a picture by that on average, and by
    `largest` anywhere. `kind` says how a picture is compared; empty: told by its look.
    Without `content_type`, the request's file tells it.
    """

    request: str
    response: str
    tolerance: float = 1e-3
    largest: float = LARGEST
    kind: str = ""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ArchiveSpec:
    """One archive. Paths are relative to the project's root."""

    name: str
    version: str
    handler: str
    model_file: str | None = None
    serialized_file: str | None = None
    extra_files: tuple[str, ...] = ()
    requirements_file: str | None = None
    config_file: str | None = None  # a model-config.yaml; the tables below replace its values
    runtime: str = "python"
    archive_format: str | None = None  # accepted, without effect
    serving: dict[str, Any] = field(default_factory=dict)
    handler_config: dict[str, Any] = field(default_factory=dict)
    samples: tuple[SampleSpec, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)  # of the model, by names of yours
    accepted_code: dict[str, str] = field(default_factory=dict)  # file in the archive → digest

    @property
    def handler_file(self) -> str | None:
        """The handler's file without an entry point, or None for a TorchServe default handler."""
        return None if self.handler in DEFAULT_HANDLERS else self.handler.partition(":")[0]

    @property
    def entry_point(self) -> str | None:
        """The function of `handler.py:function`, if the handler names one."""
        return self.handler.partition(":")[2] or None

    def model_config_values(self) -> dict[str, Any]:
        """What the tables put into `model-config.yaml`: TorchServe's keys and our own."""
        own = {"handler_config": self.handler_config, "metrics": self.metrics}
        return self.serving | {key: table for key, table in own.items() if table}


class SpecFile:
    """`archives.toml` as specs, the problems of the other tables, and the lines of all keys."""

    def __init__(
        self,
        archives: dict[str, ArchiveSpec],
        problems: Iterable[Finding],
        lines: TomlLines,
        gateway: dict[str, Any] | None = None,
    ) -> None:
        self.archives = archives
        self.gateway = gateway or {}  # its table (gateway_table.py)
        self.problems = tuple(sorted(problems, key=lambda finding: finding.line or 0))
        self._lines = lines

    def line(self, name: str, *path: str | int) -> int | None:
        """Return the line of a key of the archive `name`, counted from 1."""
        return self.line_of(("archives", name, *path))

    def line_of(self, path: tuple[str | int, ...]) -> int | None:
        """Return the line of any key, counted from 1."""
        return self._lines.find(path)


def parse_spec(text: str) -> SpecFile:
    """Read the text of `archives.toml`: its valid tables, and all problems of the others.

    Raises FindingsError only if it is not TOML.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FindingsError([_syntax_finding(error, text)]) from error
    lines = TomlLines(text)
    archives: dict[str, ArchiveSpec] = {}
    problems = [
        Finding(
            f"unknown key {key!r}",
            did_you_mean(key, ["archives", "gateway"]),
            SPEC_FILE,
            lines.find((key,)),
            rule="unknown-key",
        )
        for key in values.keys() - {"archives", "gateway"}
    ]
    tables = values.get("archives")
    if not isinstance(tables, dict) or not tables:
        hint = "write a table [archives.NAME] with the keys version and handler"
        line = lines.find(("archives",))
        problems.append(
            Finding("no archive is described", hint, SPEC_FILE, line, rule="no-archives")
        )
        tables = {}
    for name, table in tables.items():
        problems += _name_findings(name, lines)
        try:
            archives[name] = _archive_spec(name, validate_archive(table))
        except ValidationError as error:
            problems += findings_of(error, ("archives", name), ARCHIVE, lines)
    gateway, wrong = read_gateway(values.get("gateway", {}), tables, lines)
    return SpecFile(archives, [*problems, *wrong], lines, gateway)


def _archive_spec(name: str, values: dict[str, Any]) -> ArchiveSpec:
    samples = tuple(SampleSpec(**sample) for sample in values.pop("samples", ()))
    extra_files = tuple(values.pop("extra_files", ()))
    return ArchiveSpec(name=name, samples=samples, extra_files=extra_files, **values)


def _syntax_finding(error: tomllib.TOMLDecodeError, text: str) -> Finding:
    line = re.search(r"line (\d+)", str(error))
    message = re.sub(r" \(at .*\)$", "", str(error))
    return Finding(
        f"not TOML: {message[:1].lower()}{message[1:]}",
        "text values need quotes, tables look like [archives.NAME]",
        SPEC_FILE,
        int(line[1]) if line else len(text.splitlines()),  # "at end of document"
        rule="spec-syntax",
    )


def _name_findings(name: str, lines: TomlLines) -> Iterator[Finding]:
    if not is_name(name):
        yield Finding(
            f"{name!r} cannot name an archive",
            "start with a letter or digit; then letters, digits, '_', '-' and '.' may follow",
            SPEC_FILE,
            lines.find(("archives", name)),
            rule="archive-name",
        )
