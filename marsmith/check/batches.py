"""Does a request get in a batch the answer that it gets alone, whatever its neighbours?"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from marsmith.answers.messages import Request, Response
from marsmith.answers.samples import difference
from marsmith.check.handler_faults import spoiled
from marsmith.check.probes import GARBAGE, others_like
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.worker.runtime import Runtime

_LARGEST = 64  # requests of a batch
_KINDS = 4  # different requests of one
_EXACT = 1e-3  # between two numbers at least; a batch adds up in another order
_ORDER = "let no request of a batch reach another's answer: order, padding, batch norm"


@dataclass
class Batches:
    """One archive's run; a request of `body` is answered, if it is `steady` always the same.

    Answers to requests alone are kept by the requests' bodies.
    """

    subject: Subject
    run: Runtime
    body: bytes
    steady: bool

    def findings(self) -> Iterator[Finding]:
        """Yield what a batch does to its requests."""
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
        """Return the answers to different requests that are answered, each alone."""
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
        """Return the answers to one batch; None stands for what is no image."""
        requests = [GARBAGE if body is None else Request.of(body) for body in bodies]
        return self.run.predict_batch(requests)

    def _check(
        self, alone: dict[bytes, Response], neighbours: str
    ) -> Generator[Finding, None, bool]:
        """Yield how answers in a full batch differ from those alone; say if it has none."""
        batch: list[bytes] = list(islice(cycle(alone), self._size))
        start = len(self.run.log())
        answers = self._answers(batch)
        if found := spoiled(self.subject, self.run, answers[0]):
            yield found
            return True
        if failed := next((answer for answer in answers if not answer.ok), None):
            reason = self.run.failure(start).message if failed.status >= 500 else failed.complaint
            message = f"it answers one request, but not {self._size} in a batch: {reason}"
            hint = "batchSize = 1, or a model and a handler that take a batch dimension"
            if len(alone) > 1:
                message = f"it answers requests alone, but not beside {neighbours}: {reason}"
                hint = "bring the requests of a batch to one shape, or batchSize = 1"
            yield self.subject.config_finding("batch-size", "batchSize", message, hint)
            return True
        if wrong := self._wrong(batch, answers, alone):
            where = f"beside {neighbours} in a batch of {self._size}"
            message = f"alone and {where} a request is answered otherwise: {wrong}"
            place = self.subject.defined("handle")
            yield self.subject.finding("batch-answer", message, _ORDER, *place)
            self.steady = False  # so that it is told once
        return False

    def _wrong(
        self,
        batch: Sequence[bytes | None],
        answers: Sequence[Response],
        alone: dict[bytes, Response],
    ) -> str | None:
        """Say how the first answer differs that is not the one alone."""
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
        """One request that is no image must not spoil the others, nor end the worker."""
        first, *rest = alone
        second = rest[0] if rest else first
        batches: list[list[bytes | None]] = [[None], [None, first], [first, None, second]]
        batch = batches[min(self.run.batch_size, 3) - 1]
        answers = self._answers(batch)
        place = self.subject.defined("handle")
        if self.run.lost:
            late = "did not" in self.run.lost.message
            message = f"a request that is no image {'hangs' if late else 'ends'} the worker"
            hint = "catch what a request can raise, and answer it with set_response_status"
            yield self.subject.finding("bad-request", message, self._hint(hint), *place)
        elif not all(a.ok for a, sent in zip(answers, batch, strict=True) if sent is not None):
            message = "one bad request spoils the answers of all others in its batch"
            hint = "catch it per request and call context.set_response_status(400, …, index)"
            yield self.subject.finding(
                "bad-request", message, self._hint(hint), *place, severity=Severity.WARNING
            )
        elif wrong := self._wrong(batch, answers, alone):
            message = f"beside a bad request another is answered otherwise than alone: {wrong}"
            yield self.subject.finding("batch-answer", message, _ORDER, *place)

    def _hint(self, hint: str) -> str:
        """Nobody changes TorchServe's own handlers."""
        name = self.subject.default_handler
        return f"batchSize = 1; or a handler of your own in place of {name}" if name else hint
