"""The samples inside an archive: requests with their expected answers; no IO."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from marsmith.answers.messages import Request, Response
from marsmith.answers.pictures import (
    data_difference,
    is_data,
    picture_difference,
    picture_kind,
)
from marsmith.core.errors import ArchiveError

SAMPLES_FOLDER = "samples"
SAMPLES_FILE = f"{SAMPLES_FOLDER}/samples.json"
# How a picture is compared: its shades within the tolerance, or its data pixel by pixel.
KINDS = ("picture", "data")
LARGEST = 0.25  # the most that one value 0…1 of a picture may differ by


@dataclass(frozen=True)
class Sample:
    """Names inside the archive of a request's body and its expected answer.

    `kind` is one of KINDS, or empty: then it is told by the expected answer. `content_type` and
    `headers` are the request's.
    """

    request: str
    response: str
    tolerance: float
    largest: float = LARGEST
    kind: str = ""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_body(self, body: bytes) -> Request:
        """Return the request, whose body the archive holds."""
        return Request(body, self.content_type, self.headers)

    def complaint(self, expected: bytes, answer: Response) -> str | None:
        """Return why an answer is not the expected one, or None if it is."""
        if not answer.ok:
            return f"status {answer.status}: {answer.complaint}"
        return self.difference(expected, answer.body)

    def difference(self, expected: bytes, actual: bytes) -> str | None:
        """Return how a body differs from the expected one by more than the tolerance, or None."""
        return difference(expected, actual, self.tolerance, self.largest, self.kind)


def parse_samples(text: str | bytes, archive: str = "NAME") -> tuple[Sample, ...]:
    """Read the index of an archive's samples. Raises ArchiveError if it cannot be read.

    The error tells how to build the archive of that name.
    """
    try:
        return tuple(_checked(Sample(**entry)) for entry in json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError(
            f"{SAMPLES_FILE} cannot be read: {error}",
            f"build the archive again: marsmith build {archive}",
            code="samples-unreadable",
        ) from error


def _checked(sample: Sample) -> Sample:
    """Return a sample whose values are of the right types. Raises TypeError."""
    names = isinstance(sample.request, str) and isinstance(sample.response, str)
    numbers = (sample.tolerance, sample.largest)
    if sample.kind not in ("", *KINDS):
        raise TypeError(f"there is no kind {sample.kind!r}")
    if not names or not all(isinstance(value, (int, float)) for value in numbers):
        raise TypeError("names and numbers are expected")
    texts = [sample.content_type, *sample.headers, *sample.headers.values()]
    if not all(isinstance(value, str) for value in texts):
        raise TypeError("the content type and the headers are texts")
    return sample


def format_samples(samples: tuple[Sample, ...]) -> bytes:
    """Write the index of an archive's samples."""
    values = [asdict(sample) for sample in samples]
    for one in values:
        for key in ("kind", "content_type", "headers"):
            if not one[key]:
                del one[key]
    return json.dumps(values, indent=2).encode() + b"\n"


def difference(
    expected: bytes, actual: bytes, tolerance: float, largest: float = LARGEST, kind: str = ""
) -> str | None:
    """Return in one line how an answer differs from the expected one, or None if it does not.

    In JSON, numbers may differ by `tolerance`; all else must be equal. In pictures, values may
    differ by `tolerance` on average and by `largest` anywhere. Pictures that are data by their look
    must have the same pixels; if `kind` says that they are, `tolerance` is the share of pixels that
    may differ. Anything else must have the same bytes, except for white space at the end.
    """
    if picture_kind(expected) and picture_kind(actual):
        if kind == "data" or (not kind and is_data(expected)):
            return data_difference(expected, actual, tolerance if kind else 0.0)
        return picture_difference(expected, actual, tolerance, largest)
    try:
        pair = json.loads(expected), json.loads(actual)
    except (ValueError, RecursionError):
        same = expected.rstrip() == actual.rstrip()
        return None if same else f"expected {_short(expected)}, got {_short(actual)}"
    return next(_differences("", *pair, tolerance), None)


def _differences(path: str, expected: Any, actual: Any, tolerance: float) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in sorted(expected.keys() | actual.keys()):
            place = f"{path}.{key}" if path else key
            if key in expected and key in actual:
                yield from _differences(place, expected[key], actual[key], tolerance)
            else:
                yield f"{place}: {'missing' if key in expected else 'unexpected'}"
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, pair in enumerate(zip(expected, actual, strict=True)):
            yield from _differences(f"{path}[{index}]", *pair, tolerance)
    elif not _same(expected, actual, tolerance):
        where = f"{path}: " if path else ""
        yield f"{where}expected {_short(expected)}, got {_short(actual)}"


def _same(expected: Any, actual: Any, tolerance: float) -> bool:
    numbers = (int, float)
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, numbers) and isinstance(actual, numbers):
        return expected == actual or abs(expected - actual) <= tolerance
    return bool(expected == actual)


def _short(value: Any) -> str:
    text = value.decode(errors="replace").strip() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
