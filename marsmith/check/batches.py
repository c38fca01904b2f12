"""Check that a request gets the same answer in any batch as alone."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import NamedTuple

from marsmith.answers.messages import Request, Response
from marsmith.answers.pictures import is_data
from marsmith.answers.samples import difference
from marsmith.check.handler_faults import failure_of, handler_fault
from marsmith.check.probes import GARBAGE, others_like
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.worker.runtime import Runtime

_LARGEST = 64  # requests in a batch
_KINDS = 4  # different requests in a batch
_EXACT = 1e-3  # smallest tolerance: sums in a batch have another order
_ORDER = "keep the requests of a batch apart: look at their order, padding, and batch norm"


class Alone(NamedTuple):
    """A request and the answer that it gets alone."""

    request: Request
    answer: Response


@dataclass
class Batches:
    """Checks one archive with batches. It answers `request`; if `steady`, always the same."""

    subject: Subject
    run: Runtime
    request: Request
    steady: bool

    def findings(self) -> Iterator[Finding]:
        """Yield how batches change answers or fail."""
        alone = [Alone(self.request, self.run.predict(self.request))]
        if self._size > 1:
            failed = yield from self._check(alone, "the same request")
            if failed:
                return
            alone += self._others()
            if self.steady and len(alone) > 1:
                yield from self._check(alone, "others")
        yield from self._check_beside_garbage(alone)

    @property
    def _size(self) -> int:
        return min(self.run.batch_size, _LARGEST)

    def _others(self) -> list[Alone]:
        """Return other requests that are answered alone, with their answers."""
        archive = self.subject.archive
        known = [self.request]
        found: list[Alone] = []
        for request in (
            *(archive.request_of(sample) for sample in archive.samples),
            *others_like(self.request),
        ):
            if request not in known and len(found) < _KINDS - 1:
                known.append(request)
                answer = self.run.predict(request)
                found += [Alone(request, answer)] if answer.ok else []
        return found

    def _check(self, alone: list[Alone], neighbours: str) -> Generator[Finding, None, bool]:
        """Yield how answers in a full batch differ from those alone; return whether it failed."""
        batch = list(islice(cycle(alone), self._size))
        start = len(self.run.log())
        answers = self.run.predict_batch([one.request for one in batch])
        if found := handler_fault(self.subject, self.run, answers[0], start):
            yield found
            return True
        if failed := next((answer for answer in answers if not answer.ok), None):
            yield self._failed(failed, start, alone, neighbours)
            return True
        if wrong := self._wrong(batch, answers):
            where = f"beside {neighbours} in a batch of {self._size}"
            message = f"a request gets another answer {where} than alone: {wrong}"
            place = self.subject.defined("handle")
            yield self.subject.finding(message, _ORDER, *place, rule="batch-answer")
            self.steady = False  # so that it is reported once
        return False

    def _failed(self, failed: Response, start: int, alone: list[Alone], neighbours: str) -> Finding:
        """Return why a batch failed, with the place of the exception."""
        reason, place = failed.complaint, ""
        if failed.status >= 500:
            failure = failure_of(self.run, failed, start)
            reason = failure.message
            if failure.file:
                place = f" ({self.subject.place(failure.file)}:{failure.line})"
        message = f"it answers one request, but not {self._size} in a batch: {reason}{place}"
        hint = "set batchSize = 1, or use a model and a handler that accept a batch dimension"
        if len(alone) > 1:
            message = f"it answers requests alone, but not beside {neighbours}: {reason}{place}"
            hint = "resize the requests of a batch to one shape, or set batchSize = 1"
        return self.subject.config_finding("batchSize", message, hint, rule="batch-size")

    def _wrong(self, batch: Sequence[Alone | None], answers: Sequence[Response]) -> str | None:
        """Return how the first answer differs from the one that the request gets alone, or None."""
        tolerances = [sample.tolerance for sample in self.subject.archive.samples]
        tolerance = max([_EXACT, *tolerances])
        pairs = [
            (one.answer, answer)
            for one, answer in zip(batch, answers, strict=True)
            if self.steady and one is not None
        ]
        # Of data, a few pixels may differ: an argmax follows the last bit of a sum.
        found = (
            difference(*(one.body, other.body, tolerance), kind="data" if is_data(one.body) else "")
            for one, other in pairs
        )
        return next(filter(None, found), None)

    def _check_beside_garbage(self, alone: list[Alone]) -> Iterator[Finding]:
        """Yield what a request that is not an image does to the worker or to its batch."""
        first, *rest = alone
        second = rest[0] if rest else first
        batches: list[list[Alone | None]] = [[None], [None, first], [first, None, second]]
        batch = batches[min(self.run.batch_size, 3) - 1]
        answers = self.run.predict_batch([one.request if one else GARBAGE for one in batch])
        place = self.subject.defined("handle")
        if self.run.lost:
            what = "blocks" if self.run.lost.rule == "worker-timeout" else "ends"
            message = f"a request that is not an image {what} the worker"
            hint = "catch exceptions for each request: context.set_response_status(400, …, index)"
            yield self.subject.finding(message, self._hint(hint), *place, rule="bad-request")
        elif not all(a.ok for a, sent in zip(answers, batch, strict=True) if sent is not None):
            message = "one bad request makes all other requests of its batch fail"
            hint = "catch exceptions for each request: context.set_response_status(400, …, index)"
            yield self.subject.finding(
                message, self._hint(hint), *place, severity=Severity.WARNING, rule="bad-request"
            )
        elif wrong := self._wrong(batch, answers):
            message = f"a request gets another answer beside a bad one than alone: {wrong}"
            yield self.subject.finding(message, _ORDER, *place, rule="batch-answer")

    def _hint(self, hint: str) -> str:
        """Return the hint, or another for TorchServe's own handlers, which cannot be edited."""
        name = self.subject.default_handler
        return f"set batchSize = 1, or use your own handler instead of {name}" if name else hint
