"""`archives.toml`: what goes into each archive. Text in, frozen specs out; no IO.

Keys are torch-model-archiver's flags (model_archiver/arg_parser.py) and TorchServe's
model-config names (frontend, ModelConfig.java), so that nobody learns a second vocabulary.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from marsmith.findings import Finding, FindingsError
from marsmith.toml_lines import TomlLines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPEC_FILE = "archives.toml"

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

Count = Annotated[StrictInt, Field(ge=0)]
Positive = Annotated[StrictInt, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ServingConfig(_Table):
    """TorchServe's own model-config keys; what is left out keeps TorchServe's default."""

    minWorkers: Count | None = None  # noqa: N815 (TorchServe's spelling, here and below)
    maxWorkers: Positive | None = None  # noqa: N815
    batchSize: Positive | None = None  # noqa: N815
    maxBatchDelay: Count | None = None  # noqa: N815
    responseTimeout: Positive | None = None  # noqa: N815
    startupTimeout: Positive | None = None  # noqa: N815
    deviceType: Literal["cpu", "gpu"] | None = None  # noqa: N815
    deviceIds: list[Count] | None = None  # noqa: N815
    parallelType: Literal["pp", "tp", "pptp", "custom"] | None = None  # noqa: N815
    parallelLevel: Count | None = None  # noqa: N815
    torchrun: dict[str, JsonValue] | None = None
    maxRetryTimeoutInSec: Positive | None = None  # noqa: N815
    clientTimeoutInMills: Count | None = None  # noqa: N815
    jobQueueSize: Positive | None = None  # noqa: N815
    useJobTicket: StrictBool | None = None  # noqa: N815
    continuousBatching: StrictBool | None = None  # noqa: N815
    sequenceBatching: StrictBool | None = None  # noqa: N815
    asyncCommunication: StrictBool | None = None  # noqa: N815
    useVenv: StrictBool | None = None  # noqa: N815
    sequenceMaxIdleMSec: Positive | None = None  # noqa: N815
    sequenceTimeoutMSec: Positive | None = None  # noqa: N815
    maxNumSequence: Positive | None = None  # noqa: N815
    maxSequenceJobQueueSize: Positive | None = None  # noqa: N815


class SampleSpec(_Table):
    """A request and the answer it must get; numbers in it may differ by `tolerance`."""

    request: StrictStr
    response: StrictStr
    tolerance: Annotated[float, Field(strict=True, ge=0)] = 1e-3


class ArchiveSpec(_Table):
    """One archive. Paths are relative to the project's root."""

    name: StrictStr
    version: Annotated[StrictStr, Field(min_length=1)]
    handler: StrictStr
    model_file: StrictStr | None = None
    serialized_file: StrictStr | None = None
    extra_files: tuple[StrictStr, ...] = ()
    requirements_file: StrictStr | None = None
    runtime: Literal["python", "python3"] = "python"
    archive_format: Literal["default", "zip-store"] = "default"
    serving: ServingConfig = ServingConfig()
    handler_config: dict[str, JsonValue] = {}
    samples: tuple[SampleSpec, ...] = ()

    @property
    def handler_file(self) -> str | None:
        """The handler's file without an entry point, or None for a TorchServe default handler."""
        return None if self.handler in DEFAULT_HANDLERS else self.handler.partition(":")[0]

    @property
    def entry_point(self) -> str | None:
        """The function of `handler.py:function`, if the handler names one."""
        return self.handler.partition(":")[2] or None

    def model_config_values(self) -> dict[str, Any]:
        """What `model-config.yaml` holds: TorchServe's keys, and the handler's own table."""
        values = self.serving.model_dump(exclude_none=True)
        if self.handler_config:
            values["handler_config"] = self.handler_config
        return values


class SpecFile:
    """`archives.toml` as specs, the problems of the tables that are none, and their lines."""

    def __init__(
        self, archives: dict[str, ArchiveSpec], problems: Iterable[Finding], lines: TomlLines
    ) -> None:
        self.archives = archives
        self.problems = tuple(sorted(problems, key=lambda finding: finding.line or 0))
        self._lines = lines

    def line(self, name: str, *path: str | int) -> int | None:
        """Return the line of a key of the archive `name`, counted from 1."""
        return self._lines.find(("archives", name, *path))


def parse_spec(text: str) -> SpecFile:
    """Read the text of `archives.toml`: what is sound in it, and all problems of the rest.

    Raises FindingsError only for what is no TOML at all.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FindingsError([_syntax_finding(error, text)]) from error
    lines = TomlLines(text)
    archives: dict[str, ArchiveSpec] = {}
    problems = [
        Finding(
            f"unknown key {key!r}", did_you_mean(key, ["archives"]), SPEC_FILE, lines.find((key,))
        )
        for key in values.keys() - {"archives"}
    ]
    tables = values.get("archives")
    if not isinstance(tables, dict) or not tables:
        hint = "write a table: [archives.NAME] (README: the spec)"
        problems.append(
            Finding("no archive is described", hint, SPEC_FILE, lines.find(("archives",)))
        )
        tables = {}
    for name, table in tables.items():
        problems += _name_findings(name, table, lines)
        try:
            archives[name] = ArchiveSpec.model_validate(
                table | {"name": name} if isinstance(table, dict) else table
            )
        except ValidationError as error:
            problems += _findings(name, error, lines)
    return SpecFile(archives, problems, lines)


def _syntax_finding(error: tomllib.TOMLDecodeError, text: str) -> Finding:
    line = re.search(r"line (\d+)", str(error))
    message = re.sub(r" \(at .*\)$", "", str(error))
    return Finding(
        f"this is not TOML: {message[:1].lower()}{message[1:]}",
        "text values need quotes, tables look like [archives.NAME]",
        SPEC_FILE,
        int(line[1]) if line else len(text.splitlines()),  # "at end of document"
    )


def _name_findings(name: str, table: Any, lines: TomlLines) -> Iterator[Finding]:
    if isinstance(table, dict) and "name" in table:
        yield Finding(
            f"unknown key 'name' in [archives.{name}]",
            "the table's name is the archive's name: remove the key",
            SPEC_FILE,
            lines.find(("archives", name, "name")),
        )
    if not _NAME.fullmatch(name):
        yield Finding(
            f"{name!r} cannot name an archive",
            "start with a letter or digit, go on with letters, digits, '_', '-' and '.'",
            SPEC_FILE,
            lines.find(("archives", name)),
        )


def _findings(name: str, error: ValidationError, lines: TomlLines) -> Iterator[Finding]:
    for detail in error.errors():
        path = ("archives", name, *detail["loc"])
        yield Finding(*_explain(detail, path), SPEC_FILE, lines.find(path))


def _explain(detail: ErrorDetails, path: tuple[str | int, ...]) -> tuple[str, str]:
    """Say in our words what pydantic found at one place."""
    key = str(next(part for part in reversed(path) if isinstance(part, str)))
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"unknown key {key!r}{_place(path)}", _known_keys(path, key)
    if kind == "missing":
        return f"{key!r} is missing{_place(path)}", f"add the key: {key} = …"
    expected = detail["msg"].removeprefix("Input ")
    for word, plain in _PLAIN_WORDS:
        expected = re.sub(word, plain, expected)
    quotable = kind == "string_type" and isinstance(detail["input"], (int, float))
    hint = f'write {key} = "{detail["input"]}"' if quotable else f"change {key}"
    return f"{key!r} {expected}{_place(path)}, not {detail['input']!r}", hint


_PLAIN_WORDS = (
    (r"a valid integer", "an integer"),
    (r"a valid (dictionary|tuple|list)( or instance of \w+)?", r"a \1"),
    (r"a (tuple|list)", "a list"),
    (r"a dictionary|an object to extract fields from", "a table"),
    (r"valid ", ""),
)


def _place(path: tuple[str | int, ...]) -> str:
    table = ".".join(str(part) for part in path[:-1] if isinstance(part, str))
    return f" in [{table}]" if table else ""


def _known_keys(path: tuple[str | int, ...], key: str) -> str:
    inner: dict[str, type[BaseModel]] = {"serving": ServingConfig, "samples": SampleSpec}
    table = inner.get(str(path[2]), ArchiveSpec) if len(path) > 3 else ArchiveSpec
    return did_you_mean(key, [name for name in table.model_fields if name != "name"])


def did_you_mean(name: str, known: list[str]) -> str:
    """Return a hint that names the closest of `known`, or lists them all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
