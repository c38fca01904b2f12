"""Check that an archive loads and answers correctly, by running it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from marsmith.answers.messages import Request
from marsmith.answers.requests import Input
from marsmith.answers.samples import Sample, difference
from marsmith.check.batches import Batches
from marsmith.check.handler_faults import failure_of, handler_fault
from marsmith.check.load_failures import explain_load
from marsmith.check.memory import check_memory
from marsmith.check.probes import Probe
from marsmith.check.subject import Subject
from marsmith.check.timeouts import check_timeouts
from marsmith.check.unproven import Unproven
from marsmith.core.errors import WorkerError
from marsmith.core.extras import MissingExtraError
from marsmith.core.findings import Finding, Severity
from marsmith.torchserve.load_failure import WHERE_TO_WRITE
from marsmith.weights.state_dict_differences import Differences
from marsmith.worker.runtime import Runtime
from marsmith.worker.sandbox import Sandbox


@dataclass
class Behaviour:
    """Checks one archive by running it. `figures` are complete after the last finding."""

    subject: Subject
    timeout: float
    sandbox: Sandbox | None = None
    given: Sequence[Input] = ()  # requests that the user names
    without_sandbox: str = ""  # why it was run without one
    figures: dict[str, float] = field(default_factory=dict)  # seconds
    _answered: float = 0.0  # seconds, without a sample too

    def findings(self) -> Iterator[Finding]:
        """Load the archive, send requests, and yield what is wrong."""
        start = time.monotonic()
        archive, accepted = self.subject.archive, self.subject.accepted
        run = Runtime(
            archive,
            timeout=self.timeout,
            watched=True,
            sandbox=self.sandbox,
            accepted=accepted,
        )
        try:
            run.start()
            self.without_sandbox = run.without_sandbox
        except WorkerError as error:
            yield explain_load(self.subject, error, run)
            return
        except MissingExtraError as error:
            message = f"it was read, but not run: {error.message}"
            yield self.subject.finding(
                message, error.hint, rule="not-run", severity=Severity.WARNING
            )
            return
        with run:
            self.figures["load"] = time.monotonic() - start
            notes = run.notes()
            yield from self._check_network(notes.network, "while it loads")
            yield from self._check_names(notes.loose)
            yield from self._check_answers(run)
            later = run.notes().network[len(notes.network) :]
            yield from self._check_network(
                [one for one in later if one not in notes.network], "while it answers"
            )
            yield from self._check_writes(run.notes().writes)
            yield from check_timeouts(self.subject, {"answer": self._answered} | self.figures)

    def _check_network(self, network: list[str], when: str) -> Iterator[Finding]:
        """Yield network addresses that it tried to reach, but works without."""
        if network:
            where = ", ".join(list(dict.fromkeys(network))[:3])
            message = f"it tries to use the network {when}, and works without: {where}"
            hint = "put what it needs into the archive; a server may have no network"
            yield self.subject.finding(message, hint, severity=Severity.WARNING, rule="download")

    def _check_writes(self, writes: list[str]) -> Iterator[Finding]:
        """Yield files that it tried to write where it may not, but works without."""
        if writes:
            message = f"it tries to write where it may not, and works without: {writes[0]}"
            if len(writes) > 1:
                message += f", and {len(writes) - 1} more"
            hint = f"{WHERE_TO_WRITE}; without a sandbox: marsmith check --no-sandbox"
            yield self.subject.finding(
                message, hint, severity=Severity.WARNING, rule="refused-write"
            )

    def _check_names(self, loose: list[dict[str, list[str]]]) -> Iterator[Finding]:
        """Yield weights of which load_state_dict(…, strict=False) loaded almost nothing."""
        if loose:
            found = Differences(loose[0]["missing"], loose[0]["unexpected"])
            message = f"strict=False hides that weights are not loaded: {found.short}"
            file = self.subject.manifest.serialized_file
            hint = found.cause(self.subject.place(file) if file else "FILE")
            yield self.subject.finding(
                message, hint, file, severity=Severity.WARNING, rule="weights-keys"
            )

    def _check_answers(self, run: Runtime) -> Iterator[Finding]:
        samples = self.subject.archive.samples
        request = (yield from self._with_samples(run, samples)) if samples else None
        if self.given or not samples:
            given = [Probe(one.name, one.request()) for one in self.given]
            answered = yield from Unproven(self.subject, run, given).findings()
            request = request or answered
        if request is None:
            return
        steady = yield from self._check_mode(run, request)
        yield from Batches(self.subject, run, request, steady).findings()
        yield from check_memory(self.subject, run, request)

    def _with_samples(
        self, run: Runtime, samples: tuple[Sample, ...]
    ) -> Generator[Finding, None, Request | None]:
        """Yield samples with wrong answers; return a request that is answered."""
        good = None
        for sample in samples:
            request = self.subject.archive.request_of(sample)
            start, logged = time.monotonic(), len(run.log())
            answer = run.predict(request)
            self.figures.setdefault("answer", time.monotonic() - start)
            if found := handler_fault(self.subject, run, answer, logged):
                yield found
                return None
            if answer.ok:
                good = good or request
            if wrong := sample.complaint(self.subject.archive.read(sample.response), answer):
                if answer.status >= 500:
                    wrong = f"{wrong}: {failure_of(run, answer, logged).message}"
                message = f"the answer to its sample {sample.request} is wrong: {wrong}"
                again = f"marsmith sample {self.subject.archive.name}"
                hint = f"correct the model or its handler; if the new answer is right: {again}"
                yield self.subject.finding(message, hint, sample.response, rule="sample")
        return good

    def _check_mode(self, run: Runtime, request: Request) -> Generator[Finding, None, bool]:
        """Yield signs of training mode; return whether the same request gets the same answer."""
        start = time.monotonic()
        first = run.predict(request)
        self._answered = time.monotonic() - start
        second = run.predict(request)
        place = self.subject.defined("initialize")
        changed = difference(first.body, second.body, 1e-6)
        calls = run.notes().calls
        training = any(call.get("training") for call in calls)
        # Without a sample, an answer may be meant to change: it may contain the time, or be random.
        if changed and (training or self.subject.archive.samples):
            cause = "the model is in training mode" if training else "something in it is random"
            message = f"two calls with the same request differ ({changed}): {cause}"
            hint = (
                "call model.eval() in initialize" if training else "remove or seed what is random"
            )
            yield self.subject.finding(message, hint, *place, rule="training-mode")
        elif any(call.get("random") for call in calls):
            message = "the model is in training mode, so its answers depend on the batch"
            hint = "call model.eval() in initialize"
            yield self.subject.finding(message, hint, *place, rule="training-mode")
        if any(call.get("gradients") for call in calls):
            message = "the model computes gradients, which wastes memory and time"
            hint = "call it in `with torch.inference_mode():`"
            yield self.subject.finding(
                message,
                hint,
                *self.subject.defined("handle"),
                severity=Severity.WARNING,
                rule="gradients",
            )
        return changed is None
