"""Does an archive load, and answer as a server needs it to? Seen in the runtime."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from marsmith.answers.samples import Sample, difference
from marsmith.check.batches import Batches
from marsmith.check.handler_faults import failing, spoiled
from marsmith.check.load_failures import explain_load
from marsmith.check.memory import check_memory
from marsmith.check.probes import picture
from marsmith.check.state_dict_differences import Differences
from marsmith.check.subject import Subject
from marsmith.core.errors import WorkerError
from marsmith.core.extras import MissingExtraError
from marsmith.core.findings import Finding, Severity
from marsmith.worker.runtime import Runtime


@dataclass
class Behaviour:
    """An archive's run: the findings come as it goes on, the figures are there at its end."""

    subject: Subject
    timeout: float
    figures: dict[str, float] = field(default_factory=dict)  # seconds

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with how the archive behaves."""
        start = time.monotonic()
        run = Runtime(self.subject.archive, timeout=self.timeout, watched=True)
        try:
            run.start()
        except WorkerError as error:
            yield explain_load(self.subject, error, run)
            return
        except MissingExtraError as error:
            message = f"it was only read, not run: {error.message}"
            yield self.subject.finding("not-run", message, error.hint, severity=Severity.WARNING)
            return
        with run:
            self.figures["load"] = time.monotonic() - start
            notes = run.notes()
            yield from self._check_network(notes.network, "is loaded")
            yield from self._check_names(notes.loose)
            yield from self._check_answers(run)
            later = run.notes().network[len(notes.network) :]
            yield from self._check_network(
                [one for one in later if one not in notes.network], "answers"
            )

    def _check_network(self, network: list[str], when: str) -> Iterator[Finding]:
        """Yield what it asked of the network, and then did without."""
        if network:
            where = ", ".join(list(dict.fromkeys(network))[:3])
            message = f"it wants the network when it {when}, and goes on without: {where}"
            hint = "ship what it needs in the archive; a server may be kept from the network"
            yield self.subject.finding("download", message, hint, severity=Severity.WARNING)

    def _check_names(self, loose: list[dict[str, list[str]]]) -> Iterator[Finding]:
        """Yield weights that load_state_dict(…, strict=False) has hardly taken anything of."""
        if loose:
            found = Differences(loose[0]["missing"], loose[0]["unexpected"])
            message = f"strict=False hides that the weights are not loaded: {found.short}"
            file = self.subject.manifest.serialized_file
            yield self.subject.finding(
                "weights-keys", message, found.cause, file, severity=Severity.WARNING
            )

    def _check_answers(self, run: Runtime) -> Iterator[Finding]:
        samples = self.subject.archive.samples
        if not samples and self.subject.spec:
            yield self._without_samples()
        first = self._first(run, samples) if samples else self._drawn(run)
        body = yield from first
        if body is None:
            return
        steady = yield from self._check_mode(run, body)
        yield from Batches(self.subject, run, body, steady).findings()
        yield from check_memory(self.subject, run, body)

    def _without_samples(self) -> Finding:
        hint = f"record one: marsmith sample {self.subject.archive.name} INPUT"
        message = "it has no sample, so nothing proves that it answers rightly"
        return self.subject.finding("no-sample", message, hint, severity=Severity.WARNING)

    def _drawn(self, run: Runtime) -> Generator[Finding, None, bytes | None]:
        """Ask with a picture, which an archive of something else may well refuse."""
        body, start = picture(), len(run.log())
        answer = run.predict(body)
        if answer.ok:
            return body
        found = spoiled(self.subject, run, answer)
        if found := found or failing(self.subject, run.failure(start)):
            yield found
        return None

    def _first(
        self, run: Runtime, samples: tuple[Sample, ...]
    ) -> Generator[Finding, None, bytes | None]:
        """Yield what is wrong with the samples' answers; return a body that is answered."""
        good = None
        for sample in samples:
            body = self.subject.archive.read(sample.request)
            start, logged = time.monotonic(), len(run.log())
            answer = run.predict(body)
            self.figures.setdefault("answer", time.monotonic() - start)
            if found := spoiled(self.subject, run, answer):
                yield found
                return None
            if answer.ok:
                good = good or body
            if wrong := sample.complaint(self.subject.archive.read(sample.response), answer):
                if answer.status >= 500:
                    wrong = f"{wrong}: {run.failure(logged).message}"
                message = f"its sample {sample.request} is answered wrongly: {wrong}"
                hint = "mend the model or its handler; if this is right: marsmith sample"
                yield self.subject.finding("sample", message, hint, sample.response)
        return good

    def _check_mode(self, run: Runtime, body: bytes) -> Generator[Finding, None, bool]:
        """Yield what speaks for training mode; say if the same request gets the same answer."""
        first, second = run.predict(body), run.predict(body)
        place = self.subject.defined("initialize")
        changed = difference(first.body, second.body, 1e-6)
        calls = run.notes().calls
        training = any(call.get("training") for call in calls)
        # Without a sample nobody says that an answer stays: it may hold the time, or be drawn.
        if changed and (training or self.subject.archive.samples):
            cause = "the model is in training mode" if training else "something in it is random"
            message = f"two calls with the same request differ ({changed}): {cause}"
            hint = (
                "call model.eval() in initialize" if training else "seed or remove what is random"
            )
            yield self.subject.finding("training-mode", message, hint, *place)
        elif any(call.get("random") for call in calls):
            message = "the model is in training mode, so its answers depend on the batch"
            hint = "call model.eval() in initialize"
            yield self.subject.finding("training-mode", message, hint, *place)
        if any(call.get("gradients") for call in calls):
            message = "the model computes gradients, which takes memory and time for nothing"
            hint = "call it within `with torch.inference_mode():`"
            yield self.subject.finding(
                "gradients",
                message,
                hint,
                *self.subject.defined("handle"),
                severity=Severity.WARNING,
            )
        return changed is None
