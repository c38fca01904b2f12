"""Check that a request gets the same answer in any batch as alone."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from marsmith.answers.messages import Request, Response
from marsmith.answers.samples import difference
from marsmith.check.handler_faults import handler_fault
from marsmith.check.probes import GARBAGE, others_like
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.worker.runtime import Runtime

_LARGEST = 64  # requests in a batch
_KINDS = 4  # different requests in a batch
_EXACT = 1e-3  # smallest tolerance: sums in a batch have another order
_ORDER = "keep the requests of a batch apart: look at their order, padding, and batch norm"


@dataclass
class Batches:
    """Checks one archive with batches. It answers `body`; if `steady`, always in the same way."""

    subject: Subject
    run: Runtime
    body: bytes
    steady: bool

    def findings(self) -> Iterator[Finding]:
        """Yield how batches change answers or fail."""
        alone = {self.body: self.run.predict(self.body)}
        if self._size > 1:
            failed = yield from self._check(alone, "the same request")
            if failed:
                return
            alone |= self._others()
            if self.steady and len(alone) > 1:
                yield from self._check(alone, "others")
        yield from self._check_beside_garbage(alone)

    @property
    def _size(self) -> int:
        return min(self.run.batch_size, _LARGEST)

    def _others(self) -> dict[bytes, Response]:
        """Return other requests that are answered alone, with their answers."""
        archive = self.subject.archive
        bodies = [archive.read(sample.request) for sample in archive.samples]
        bodies += others_like(self.body)
        found: dict[bytes, Response] = {}
        for body in dict.fromkeys(bodies):
            if body != self.body and len(found) < _KINDS - 1:
                answer = self.run.predict(body)
                found |= {body: answer} if answer.ok else {}
        return found

    def _answers(self, bodies: Sequence[bytes | None]) -> list[Response]:
        """Return the answers to one batch; None stands for a body that is not an image."""
        requests = [GARBAGE if body is None else Request.of(body) for body in bodies]
        return self.run.predict_batch(requests)

    def _check(
        self, alone: dict[bytes, Response], neighbours: str
    ) -> Generator[Finding, None, bool]:
        """Yield how answers in a full batch differ from those alone; return whether it failed."""
        batch: list[bytes] = list(islice(cycle(alone), self._size))
        start = len(self.run.log())
        answers = self._answers(batch)
        if found := handler_fault(self.subject, self.run, answers[0]):
            yield found
            return True
        if failed := next((answer for answer in answers if not answer.ok), None):
            reason = self.run.failure(start).message if failed.status >= 500 else failed.complaint
            message = f"it answers one request, but not {self._size} in a batch: {reason}"
            hint = "set batchSize = 1, or use a model and a handler that accept a batch dimension"
            if len(alone) > 1:
                message = f"it answers requests alone, but not beside {neighbours}: {reason}"
                hint = "resize the requests of a batch to one shape, or set batchSize = 1"
            yield self.subject.config_finding("batchSize", message, hint, rule="batch-size")
            return True
        if wrong := self._wrong(batch, answers, alone):
            where = f"beside {neighbours} in a batch of {self._size}"
            message = f"a request gets another answer {where} than alone: {wrong}"
            place = self.subject.defined("handle")
            yield self.subject.finding(message, _ORDER, *place, rule="batch-answer")
            self.steady = False  # so that it is reported once
        return False

    def _wrong(
        self,
        batch: Sequence[bytes | None],
        answers: Sequence[Response],
        alone: dict[bytes, Response],
    ) -> str | None:
        """Return how the first answer differs from the one that the request gets alone, or None."""
        tolerances = [sample.tolerance for sample in self.subject.archive.samples]
        tolerance = max([_EXACT, *tolerances])
        pairs = [
            (alone[body], answer)
            for body, answer in zip(batch, answers, strict=True)
            if self.steady and body is not None
        ]
        found = (difference(one.body, other.body, tolerance) for one, other in pairs)
        return next(filter(None, found), None)

    def _check_beside_garbage(self, alone: dict[bytes, Response]) -> Iterator[Finding]:
        """Yield what a request that is not an image does to the worker or to its batch."""
        first, *rest = alone
        second = rest[0] if rest else first
        batches: list[list[bytes | None]] = [[None], [None, first], [first, None, second]]
        batch = batches[min(self.run.batch_size, 3) - 1]
        answers = self._answers(batch)
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
        elif wrong := self._wrong(batch, answers, alone):
            message = f"a request gets another answer beside a bad one than alone: {wrong}"
            yield self.subject.finding(message, _ORDER, *place, rule="batch-answer")

    def _hint(self, hint: str) -> str:
        """Return the hint, or another for TorchServe's own handlers, which cannot be edited."""
        name = self.subject.default_handler
        return f"set batchSize = 1, or use your own handler instead of {name}" if name else hint
