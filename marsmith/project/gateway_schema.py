"""The keys and values of `[gateway]` in `archives.toml`."""

from __future__ import annotations

from pydantic_core import SchemaValidator, core_schema

from marsmith.project.spec_schema import FLAG, HEADERS, PLAIN_TABLE, TEXT, table

# Text, or a JSON value, with placeholders.
_TEMPLATE = core_schema.union_schema(
    [TEXT, PLAIN_TABLE, core_schema.list_schema(core_schema.any_schema(), strict=True)],
    custom_error_type="not_a_template",
    custom_error_message="Input should be text, a list or a table",
)
_SAID = table({"status": core_schema.int_schema(strict=True, ge=200, le=599)}, {"body": _TEMPLATE})
_ROUTE = table(
    {"model": TEXT},
    {
        "version": TEXT,
        "fields": core_schema.list_schema(TEXT, min_length=1, strict=True),
        "input": core_schema.literal_schema(["bytes", "base64"]),
        "output": core_schema.literal_schema(["bytes", "base64", "base64-lines"]),
        "event": FLAG,
        "content_type": TEXT,
        "answer": _TEMPLATE,
        "missing": _SAID,
        "failure": _SAID,
        "headers": HEADERS,
    },
)
_GRPC = table({"model": TEXT}, {})
_SECONDS = core_schema.int_schema(strict=True, ge=1, le=365 * 24 * 3600)
_NUMBER = core_schema.int_schema(strict=True, ge=1)


def _text(pattern: str, meaning: str) -> core_schema.CoreSchema:
    """Return the schema of a text, with what it means for the message if it is another one."""
    return core_schema.custom_error_schema(
        core_schema.str_schema(strict=True, pattern=pattern),
        custom_error_type="another_text",
        custom_error_message=f"Input should be {meaning}",
    )


_HOSTS = core_schema.list_schema(
    _text(r"^[A-Za-z0-9.:_-]+$", "HOST or HOST:PORT (no https://)"), strict=True
)
_JOBS = table(
    {},
    {
        "ttl": _SECONDS,
        "quota": _NUMBER,
        "concurrent": core_schema.int_schema(strict=True, ge=1, le=1000),
        "lease": core_schema.int_schema(strict=True, ge=2, le=43200),  # SQS has no longer one
        "max_upload": _NUMBER,
        "address_ttl": core_schema.int_schema(strict=True, ge=1, le=604800),  # S3 has no longer one
        # The prefix is needed: objects below it expire.
        "s3": _text(r"^s3://[a-z0-9.-]+(/[\w.-]+)+/?$", "s3://BUCKET/PREFIX"),
        "sqs": _text(r"^https?://\S+$", "the URL of a queue"),
        "webhook_hosts": _HOSTS,
        "private_webhook_hosts": _HOSTS,
        "webhook_pauses": core_schema.list_schema(
            core_schema.float_schema(ge=0, le=43200), max_length=20, strict=True
        ),
    },
)
GATEWAY = table(
    {},
    {
        "root": PLAIN_TABLE,
        "redirects": core_schema.dict_schema(TEXT, TEXT, strict=True),
        "routes": core_schema.dict_schema(TEXT, _ROUTE, strict=True),
        "grpc": _GRPC,
        "jobs": _JOBS,
    },
)
validate_gateway = SchemaValidator(GATEWAY).validate_python
