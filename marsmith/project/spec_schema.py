"""The keys and values of `archives.toml` and model-config.yaml, and why one is refused.

TorchServe's own keys are those of its ModelConfig.java (frontend/archive).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import (
    ErrorDetails,
    PydanticCustomError,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from marsmith.answers.messages import HEADER_NAME, HEADER_VALUE
from marsmith.answers.samples import KINDS
from marsmith.core.findings import Finding
from marsmith.core.suggestions import did_you_mean
from marsmith.core.worker_bounds import MOST_WORKERS, bounds_problem
from marsmith.project.toml_lines import TomlLines

SPEC_FILE = "archives.toml"


def _plain(value: Any) -> Any:
    """Accept what a handler reads from YAML as it is written in TOML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, (str, int, float)):
        raise PydanticCustomError("not_plain", "Input should have quotes around dates and times")
    return value


def table(
    required: dict[str, core_schema.CoreSchema], optional: dict[str, core_schema.CoreSchema]
) -> core_schema.TypedDictSchema:
    """Return the schema of a table that has no other keys."""
    fields = {
        key: core_schema.typed_dict_field(schema, required=schemas is required)
        for schemas in (required, optional)
        for key, schema in schemas.items()
    }
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


TEXT = core_schema.str_schema(strict=True)
# Java's int bounds all of them; what is beyond the others is a slip, or meant to harm a server.
_COUNT = core_schema.int_schema(strict=True, ge=0, le=(1 << 31) - 1)
_POSITIVE = core_schema.int_schema(strict=True, ge=1, le=(1 << 31) - 1)
_SECONDS = core_schema.int_schema(strict=True, ge=1, le=7 * 24 * 3600)
FLAG = core_schema.bool_schema(strict=True)
_DIGEST = core_schema.str_schema(strict=True, pattern="^sha256:[0-9a-f]{64}$")
PLAIN_TABLE = core_schema.dict_schema(
    TEXT, core_schema.no_info_plain_validator_function(_plain), strict=True
)
HEADERS = core_schema.dict_schema(
    core_schema.str_schema(strict=True, pattern=HEADER_NAME),
    core_schema.str_schema(strict=True, pattern=HEADER_VALUE),
)

# TorchServe's own model-config keys; what is left out keeps TorchServe's default.
_SERVING = table(
    {},
    {
        "minWorkers": core_schema.int_schema(strict=True, ge=0, le=MOST_WORKERS),
        "maxWorkers": core_schema.int_schema(strict=True, ge=1, le=MOST_WORKERS),
        "batchSize": core_schema.int_schema(strict=True, ge=1, le=100_000),
        "maxBatchDelay": core_schema.int_schema(strict=True, ge=0, le=3_600_000),
        "responseTimeout": _SECONDS,
        "startupTimeout": _SECONDS,
        "deviceType": core_schema.literal_schema(["cpu", "gpu"]),
        "deviceIds": core_schema.list_schema(core_schema.int_schema(strict=True, ge=0, le=1023)),
        "parallelType": core_schema.literal_schema(["pp", "tp", "pptp", "custom"]),
        "parallelLevel": _COUNT,
        "torchrun": PLAIN_TABLE,
        "maxRetryTimeoutInSec": _SECONDS,
        "clientTimeoutInMills": _COUNT,
        "jobQueueSize": core_schema.int_schema(strict=True, ge=1, le=1_000_000),
        "useJobTicket": FLAG,
        "continuousBatching": FLAG,
        "sequenceBatching": FLAG,
        "asyncCommunication": FLAG,
        "useVenv": FLAG,
        "sequenceMaxIdleMSec": _POSITIVE,
        "sequenceTimeoutMSec": _POSITIVE,
        "maxNumSequence": _POSITIVE,
        "maxSequenceJobQueueSize": _POSITIVE,
    },
)
SERVING_KEYS = frozenset(_SERVING["fields"])
_SAMPLE = table(
    {"request": TEXT, "response": TEXT},
    {
        "tolerance": core_schema.float_schema(strict=True, ge=0),
        "largest": core_schema.float_schema(strict=True, ge=0),
        "kind": core_schema.literal_schema(list(KINDS)),
        "content_type": core_schema.str_schema(strict=True, pattern=HEADER_VALUE),
        "headers": HEADERS,
    },
)
ARCHIVE = table(
    {"version": core_schema.str_schema(strict=True, min_length=1), "handler": TEXT},
    {
        "model_file": TEXT,
        "serialized_file": TEXT,
        "extra_files": core_schema.list_schema(TEXT),
        "requirements_file": TEXT,
        "config_file": TEXT,
        "runtime": core_schema.literal_schema(["python", "python3"]),
        "archive_format": core_schema.literal_schema(["default", "zip-store"]),
        "serving": _SERVING,
        "handler_config": PLAIN_TABLE,
        "samples": core_schema.list_schema(_SAMPLE),
        "metrics": core_schema.dict_schema(
            TEXT, core_schema.float_schema(strict=True, allow_inf_nan=False)
        ),
        "accepted_code": core_schema.dict_schema(TEXT, _DIGEST),
    },
)
# pydantic's engine without its classes, which take every command long to import.
validate_archive = SchemaValidator(ARCHIVE).validate_python
_validate_serving = SchemaValidator(_SERVING).validate_python


def serving_problems(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for each of TorchServe's keys with a refused value."""
    try:
        _validate_serving(values)
    except ValidationError as error:
        for detail in error.errors():
            yield str(detail["loc"][0]), explain(detail, detail["loc"], _SERVING)[0]


def workers_problem(values: Mapping[str, object]) -> tuple[str, str] | None:
    """Return what is wrong with the numbers of workers, and what to do about it."""
    low, high = values.get("minWorkers"), values.get("maxWorkers")
    if not isinstance(low, int) or not isinstance(high, int):
        return None  # another finding, or TorchServe's default
    problem = bounds_problem(low, high)
    return (problem, "lower minWorkers, or raise maxWorkers") if problem else None


def explain(
    detail: ErrorDetails, path: tuple[str | int, ...], schema: core_schema.CoreSchema
) -> tuple[str, str]:
    """Return (message, hint) for what pydantic found at one place.

    `path` is that place in the file, `schema` what pydantic validated by.
    """
    key = str(next(part for part in reversed(path) if isinstance(part, str)))
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"unknown key {key!r}{_place(path)}", _known_keys(detail["loc"], key, schema)
    if kind == "missing":
        return f"{key!r} is missing{_place(path)}", f"add the key: {key} = …"
    expected = detail["msg"].removeprefix("Input ")
    for word, plain in _PLAIN_WORDS:
        expected = re.sub(word, plain, expected)
    quotable = kind == "string_type" and isinstance(detail["input"], (int, float))
    hint = f'write {key} = "{detail["input"]}"' if quotable else f"change {key}"
    return f"{key!r} {expected}{_place(path)}, not {detail['input']!r}", hint


def findings_of(
    error: ValidationError,
    path: tuple[str | int, ...],
    schema: core_schema.CoreSchema,
    lines: TomlLines,
) -> Iterator[Finding]:
    """Yield a finding for each problem of the table at `path`, which `schema` has refused."""
    for detail in error.errors():
        place = (*path, *detail["loc"])
        message, hint = explain(detail, place, schema)
        yield Finding(message, hint, SPEC_FILE, lines.find(place), rule=_rule(detail["type"]))


def _rule(kind: str) -> str:
    """Return the rule of what pydantic calls `kind`."""
    return {"extra_forbidden": "unknown-key", "missing": "missing-key"}.get(kind, "spec-value")


_PLAIN_WORDS = (
    (r"String should match pattern '\^sha256.*", "should be sha256: and 64 hexadecimal digits"),
    (r"String should match pattern .*", "should be what a header can hold"),
    (r"a valid integer", "an integer"),
    (r"a valid (dictionary|tuple|list)( or instance of \w+)?", r"a \1"),
    (r"a (tuple|list)", "a list"),
    (r"a dictionary|an object to extract fields from", "a table"),
    (r"valid ", ""),
)


def _place(path: tuple[str | int, ...]) -> str:
    table = ".".join(str(part) for part in path[:-1] if isinstance(part, str))
    return f" in [{table}]" if table else ""


def _known_keys(place: tuple[str | int, ...], key: str, schema: Any) -> str:
    for part in place[:-1]:
        schema = _inside(schema, part)
    others = ""
    if schema is _SERVING:
        others = (
            "TorchServe has no such key: what the handler reads goes into handler_config, other "
            "tools' keys into a model-config.yaml that config_file names"
        )
    return did_you_mean(key, list(schema["fields"]), others)


def _inside(schema: Any, part: str | int) -> Any:
    """Return the schema of a key's value, or of a list's items."""
    if schema["type"] == "typed-dict":
        return schema["fields"][part]["schema"]
    return schema["values_schema" if schema["type"] == "dict" else "items_schema"]
