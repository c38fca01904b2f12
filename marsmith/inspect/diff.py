"""Compare two archives: files, tensors, configuration, answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from marsmith.answers.messages import Request, Response
from marsmith.answers.samples import SAMPLES_FOLDER
from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError, MarsmithError
from marsmith.inspect.answer_differences import AnswerDifference, answer_difference
from marsmith.inspect.file_differences import FileDifference, file_differences
from marsmith.inspect.tensor_differences import TensorDifference, tensor_differences
from marsmith.inspect.untrusted import (
    config_values,
    manifest_values,
    model_values,
    on_disk,
    read_part,
    weights_files,
)
from marsmith.weights.any_format import read_model_file
from marsmith.worker.runtime import DEFAULT_TIMEOUT, Runtime
from marsmith.worker.sandbox import Sandbox

SIDES = ("A", "B")
_ABSENT = object()


@dataclass(frozen=True)
class ValueDifference:
    """A key of the manifest or the model-config that differs; None means that it is missing."""

    part: str
    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class WeightsDifference:
    """Two files of weights with different bytes; `same` counts the equal tensors."""

    names: tuple[str, str]
    tensors: list[TensorDifference] = field(default_factory=list)
    same: int = 0
    problem: str = ""


@dataclass(frozen=True)
class AnswerComparison:
    """A sample's request, the archives that have it, and how their answers differ."""

    request: str
    sides: tuple[str, ...]
    tolerance: float
    difference: AnswerDifference | None


@dataclass
class Comparison:
    """All differences. `problems` lists what could not be compared: (side or part, reason)."""

    archives: tuple[Archive, Archive]
    files: list[FileDifference] = field(default_factory=list)
    values: list[ValueDifference] = field(default_factory=list)
    weights: list[WeightsDifference] = field(default_factory=list)
    answers: list[AnswerComparison] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    load_failures: dict[str, str] = field(default_factory=dict)  # by side

    @property
    def is_same(self) -> bool:
        """Whether nothing differs; two archives that both fail can be the same."""
        differ = any(answer.difference for answer in self.answers)
        return not (self.files or self.values or differ or len(self.load_failures) == 1)


def compare(
    first: Archive,
    second: Archive,
    *,
    run: bool = True,
    timeout: float = DEFAULT_TIMEOUT,
    sandbox: Sandbox | None = None,
) -> Comparison:
    """Compare two archives; with `run`, both answer the samples of both.

    What cannot be compared is listed as a problem. `timeout` and `sandbox` are those of Runtime.
    Raises ArchiveError if one is not an archive.
    """
    comparison = Comparison((first, second))
    manifests = manifest_values(first), manifest_values(second)
    # These are compared by values, which says more than lines.
    told = {MANIFEST_FILE, *(str(model_values(one).get("configFile")) for one in manifests)}
    comparison.files = list(file_differences(first, second, without_lines=told))
    comparison.values = list(_values("manifest", *manifests))
    comparison.values += _config_values(comparison, manifests)
    changed = {one.name for one in comparison.files}
    for names in _weights_pairs(comparison.archives, manifests):
        if changed & set(names) or names[0] != names[1]:
            comparison.weights.append(_weights(comparison.archives, names))
    if run:
        _compare_answers(comparison, timeout, sandbox)
    return comparison


def _config_values(
    comparison: Comparison, manifests: tuple[dict[str, Any], dict[str, Any]]
) -> list[ValueDifference]:
    values = []
    for side, archive, manifest in zip(SIDES, comparison.archives, manifests, strict=True):
        try:
            values.append(config_values(archive, manifest))
        except ArchiveError as error:
            comparison.problems.append((side, error.message))
    return list(_values("config", values[0], values[1])) if len(values) == len(SIDES) else []


def _values(part: str, first: Any, second: Any, place: str = "") -> Iterator[ValueDifference]:
    """Yield the keys whose values differ; keys of nested tables are joined by dots."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in [*first, *(key for key in second if key not in first)]:
            pair = first.get(key, _ABSENT), second.get(key, _ABSENT)
            yield from _values(part, *pair, f"{place}.{key}" if place else key)
    elif first is _ABSENT or second is _ABSENT or first != second:
        before, after = (None if one is _ABSENT else one for one in (first, second))
        yield ValueDifference(part, place, before, after)


def _weights_pairs(
    archives: tuple[Archive, Archive], manifests: tuple[dict[str, Any], dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield pairs of files of weights to compare, in A and in B."""
    named = [model_values(manifest).get("serializedFile") for manifest in manifests]
    if all(named):
        yield str(named[0]), str(named[1])
    both = [weights_files(*pair) for pair in zip(archives, manifests, strict=True)]
    yield from ((name, name) for name in both[0] if name in both[1] and name not in named)


def _weights(archives: tuple[Archive, Archive], names: tuple[str, str]) -> WeightsDifference:
    try:
        with on_disk(archives[0], names[0]) as first, on_disk(archives[1], names[1]) as second:
            pair = read_model_file(first).tensors, read_model_file(second).tensors
            differences = tensor_differences(*pair)
    except MarsmithError as error:
        return WeightsDifference(names, problem=error.message)
    shared = pair[0].keys() & pair[1].keys()
    return WeightsDifference(
        names, differences, len(shared - {difference.name for difference in differences})
    )


def _compare_answers(comparison: Comparison, timeout: float, sandbox: Sandbox | None) -> None:
    """Let both archives answer the samples of both, and compare the answers."""
    requests = _requests(comparison)
    if not requests:
        return
    answers = []
    for side, archive in zip(SIDES, comparison.archives, strict=True):
        try:
            answers.append(_answers(archive, list(requests), timeout, sandbox))
        except MarsmithError as error:
            comparison.load_failures[side] = error.message
    if len(answers) < len(SIDES):
        return
    for (name, sides, tolerance), *pair in zip(requests.values(), *answers, strict=True):
        comparison.answers.append(
            AnswerComparison(name, sides, tolerance, answer_difference(*pair))
        )


def _answers(
    archive: Archive, requests: list[Request], timeout: float, sandbox: Sandbox | None
) -> list[Response]:
    with Runtime(archive, timeout=timeout, sandbox=sandbox) as runtime:
        return [runtime.predict(request) for request in requests]


def _requests(comparison: Comparison) -> dict[Request, tuple[str, tuple[str, ...], float]]:
    """Return the requests of all samples: their name, archives that have it, tolerance."""
    found: dict[Request, tuple[str, tuple[str, ...], float]] = {}
    for side, archive in zip(SIDES, comparison.archives, strict=True):
        try:
            for sample in archive.samples:
                asked = sample.with_body(read_part(archive, sample.request))
                name, sides, tolerance = found.get(asked, (sample.request, (), sample.tolerance))
                name = name.removeprefix(f"{SAMPLES_FOLDER}/")
                both = tuple(dict.fromkeys((*sides, side)))
                found[asked] = name, both, min(tolerance, sample.tolerance)
        except ArchiveError as error:
            comparison.problems.append((side, error.message))
    return found
