"""`archives.toml`: what goes into each archive. Text in, frozen specs out; no IO.

Keys are torch-model-archiver's flags (model_archiver/arg_parser.py) and TorchServe's
model-config names (frontend, ModelConfig.java), so that nobody learns a second vocabulary.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import (
    ErrorDetails,
    PydanticCustomError,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from marsmith.findings import Finding, FindingsError
from marsmith.samples import LARGEST
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


@dataclass(frozen=True)
class SampleSpec:
    """A request and the answer it must get.

    Numbers in it may differ by `tolerance`; values 0…1 of a picture by that on average, and by
    `largest` anywhere.
    """

    request: str
    response: str
    tolerance: float = 1e-3
    largest: float = LARGEST


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
    runtime: str = "python"
    archive_format: str = "default"
    serving: dict[str, Any] = field(default_factory=dict)
    handler_config: dict[str, Any] = field(default_factory=dict)
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
        own = {"handler_config": self.handler_config} if self.handler_config else {}
        return self.serving | own


def _plain(value: Any) -> Any:
    """Let pass what a handler can read from YAML as it was written in TOML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, (str, int, float)):
        raise PydanticCustomError("not_plain", "Input should hold no dates and times: quote them")
    return value


def _table(
    required: dict[str, core_schema.CoreSchema], optional: dict[str, core_schema.CoreSchema]
) -> core_schema.TypedDictSchema:
    fields = {
        key: core_schema.typed_dict_field(schema, required=schemas is required)
        for schemas in (required, optional)
        for key, schema in schemas.items()
    }
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


_TEXT = core_schema.str_schema(strict=True)
_COUNT = core_schema.int_schema(strict=True, ge=0)
_POSITIVE = core_schema.int_schema(strict=True, ge=1)
_FLAG = core_schema.bool_schema(strict=True)
_PLAIN_TABLE = core_schema.dict_schema(
    _TEXT, core_schema.no_info_plain_validator_function(_plain), strict=True
)

# TorchServe's own model-config keys; what is left out keeps TorchServe's default.
_SERVING = _table(
    {},
    {
        "minWorkers": _COUNT,
        "maxWorkers": _POSITIVE,
        "batchSize": _POSITIVE,
        "maxBatchDelay": _COUNT,
        "responseTimeout": _POSITIVE,
        "startupTimeout": _POSITIVE,
        "deviceType": core_schema.literal_schema(["cpu", "gpu"]),
        "deviceIds": core_schema.list_schema(_COUNT),
        "parallelType": core_schema.literal_schema(["pp", "tp", "pptp", "custom"]),
        "parallelLevel": _COUNT,
        "torchrun": _PLAIN_TABLE,
        "maxRetryTimeoutInSec": _POSITIVE,
        "clientTimeoutInMills": _COUNT,
        "jobQueueSize": _POSITIVE,
        "useJobTicket": _FLAG,
        "continuousBatching": _FLAG,
        "sequenceBatching": _FLAG,
        "asyncCommunication": _FLAG,
        "useVenv": _FLAG,
        "sequenceMaxIdleMSec": _POSITIVE,
        "sequenceTimeoutMSec": _POSITIVE,
        "maxNumSequence": _POSITIVE,
        "maxSequenceJobQueueSize": _POSITIVE,
    },
)
SERVING_KEYS = frozenset(_SERVING["fields"])
_SAMPLE = _table(
    {"request": _TEXT, "response": _TEXT},
    {
        "tolerance": core_schema.float_schema(strict=True, ge=0),
        "largest": core_schema.float_schema(strict=True, ge=0),
    },
)
_ARCHIVE = _table(
    {"version": core_schema.str_schema(strict=True, min_length=1), "handler": _TEXT},
    {
        "model_file": _TEXT,
        "serialized_file": _TEXT,
        "extra_files": core_schema.list_schema(_TEXT),
        "requirements_file": _TEXT,
        "runtime": core_schema.literal_schema(["python", "python3"]),
        "archive_format": core_schema.literal_schema(["default", "zip-store"]),
        "serving": _SERVING,
        "handler_config": _PLAIN_TABLE,
        "samples": core_schema.list_schema(_SAMPLE),
    },
)
# pydantic's engine without its classes, whose import every command would have to wait for.
_validate = SchemaValidator(_ARCHIVE).validate_python


_validate_serving = SchemaValidator(_SERVING).validate_python


def serving_problems(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for each of TorchServe's keys whose value it does not take."""
    try:
        _validate_serving(values)
    except ValidationError as error:
        for detail in error.errors():
            yield str(detail["loc"][0]), _explain(detail, detail["loc"])[0]


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
        problems += _name_findings(name, lines)
        try:
            archives[name] = _archive_spec(name, _validate(table))
        except ValidationError as error:
            problems += _findings(name, error, lines)
    return SpecFile(archives, problems, lines)


def _archive_spec(name: str, values: dict[str, Any]) -> ArchiveSpec:
    samples = tuple(SampleSpec(**sample) for sample in values.pop("samples", ()))
    extra_files = tuple(values.pop("extra_files", ()))
    return ArchiveSpec(name=name, samples=samples, extra_files=extra_files, **values)


def _syntax_finding(error: tomllib.TOMLDecodeError, text: str) -> Finding:
    line = re.search(r"line (\d+)", str(error))
    message = re.sub(r" \(at .*\)$", "", str(error))
    return Finding(
        f"this is not TOML: {message[:1].lower()}{message[1:]}",
        "text values need quotes, tables look like [archives.NAME]",
        SPEC_FILE,
        int(line[1]) if line else len(text.splitlines()),  # "at end of document"
    )


def _name_findings(name: str, lines: TomlLines) -> Iterator[Finding]:
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
    inner = {"serving": _SERVING, "samples": _SAMPLE}
    table = inner.get(str(path[2]), _ARCHIVE) if len(path) > 3 else _ARCHIVE
    return did_you_mean(key, list(table["fields"]))


def did_you_mean(name: str, known: list[str]) -> str:
    """Return a hint that names the closest of `known`, or lists them all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
