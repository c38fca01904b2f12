"""Ask an archive without samples made-up requests, and find what it answers to none of them."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from marsmith.answers.messages import Request, Response
from marsmith.check.handler_faults import answering, failure_of, handler_fault
from marsmith.check.probes import Probe, names_read, other_probes, picture_probes, wrapped_probes
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.worker.runtime import Runtime

# Code that reads pictures. What it does not answer of them is no other kind of request's matter.
_OF_PICTURES = re.compile(
    rb"\b(PIL|cv2|imageio|skimage|torchvision|decode_image"
    rb"|image_classifier|image_segmenter|object_detector|vision_handler)\b"
)
_PICTURE_HANDLERS = ("image_classifier", "image_segmenter", "object_detector")


@dataclass
class Unproven:
    """Checks one archive with probes."""

    subject: Subject
    run: Runtime
    given: Sequence[Probe] = ()  # requests of the user's, in place of made-up ones
    _good: list[Probe] = field(default_factory=list, init=False)
    _refused: list[tuple[Probe, Response]] = field(default_factory=list, init=False)
    _failed: list[tuple[Probe, Finding]] = field(default_factory=list, init=False)

    def findings(self) -> Generator[Finding, None, Request | None]:
        """Yield what is wrong; return a request that is answered."""
        names = names_read(self.subject.python_files.get(self.subject.handler_file or "", b""))
        families = [iter(self.given)] if self.given else [picture_probes(), wrapped_probes(names)]
        if not self.given and not reads_pictures(self.subject):
            families.append(other_probes(names))
        for family in families:
            if self._good:
                break
            for probe in family:
                if fault := self._ask(probe):
                    yield fault
                    return None
        if not self._good:
            yield from self._nothing_answered()
            return None
        if self.subject.spec and not self.subject.archive.samples:
            yield self._no_sample("it has no sample, so nothing proves its answers correct")
        usual = self.given or picture_probes()
        if self._good[0].what in {probe.what for probe in usual}:
            yield from self._some_failed()
            yield from self._some_refused()
        return self._good[0].request

    def _ask(self, probe: Probe) -> Finding | None:
        """Send a probe and keep its outcome; return a fault that no request could cause."""
        start = len(self.run.log())
        answer = self.run.predict(probe.request)
        if fault := handler_fault(self.subject, self.run, answer, start):
            asked = f" ({probe.what})" if fault.rule == "no-answer" and self._good else ""
            return replace(fault, message=fault.message + asked)
        if answer.ok:
            self._good.append(probe)
        elif answer.status < 500:
            self._refused.append((probe, answer))
        else:
            self._failed.append((probe, failure_of(self.run, answer, start)))
        return None

    def _nothing_answered(self) -> Iterator[Finding]:
        if self._refused and not (self._failed and reads_pictures(self.subject)):
            probe, answer = self._refused[0]
            refused = f"refuses made-up requests; to {probe.what} it says {_reason(answer)}"
            yield self._no_sample(f"it has no sample, and {refused}")
            return
        probe, failure = self._failed[0]
        same = {one.message for _, one in self._failed} == {failure.message}
        asked = "any request" if same else probe.what
        message = f"it gives no answer to {asked}: {failure.message}"
        hint = f"{failure.hint}; if it needs requests of another kind, record one: {self._record}"
        found = self._placed(message, hint, failure, rule="no-answer", severity=Severity.ERROR)
        yield replace(found, about=failure.message)

    def _some_failed(self) -> Iterator[Finding]:
        """Yield an exception once, with all kinds of requests that it fails."""
        by_message: dict[str, list[tuple[Probe, Finding]]] = {}
        for probe, failure in self._failed:
            by_message.setdefault(failure.message, []).append((probe, failure))
        for message, found in by_message.items():
            kinds = ", ".join(probe.what for probe, _ in found)
            text = f"it fails for {kinds}: {message}"
            hint = f"convert them, or refuse them with a status of 4xx; {found[0][1].hint}"
            yield self._placed(
                text, hint, found[0][1], rule="request-fails", severity=Severity.WARNING
            )

    def _some_refused(self) -> Iterator[Finding]:
        if self._refused:
            kinds = ", ".join(probe.what for probe, _ in self._refused)
            message = f"it refuses {kinds}: {_reason(self._refused[0][1])}"
            hint = "convert them, if callers may send them"
            place = answering(self.subject)
            yield self.subject.finding(
                message, hint, *place, rule="request-refused", severity=Severity.WARNING
            )

    def _placed(
        self, message: str, hint: str, failure: Finding, *, rule: str, severity: Severity
    ) -> Finding:
        """Return a finding where the exception was raised, or else where the handler answers."""
        place = (failure.file, failure.line) if failure.file else answering(self.subject)
        return self.subject.finding(message, hint, *place, rule=rule, severity=severity)

    def _no_sample(self, message: str) -> Finding:
        hint = f"record one: {self._record}"
        return self.subject.finding(message, hint, severity=Severity.WARNING, rule="no-sample")

    @property
    def _record(self) -> str:
        return f"marsmith sample {self.subject.archive.name} INPUT"


def reads_pictures(subject: Subject) -> bool:
    """Whether an archive's code, or TorchServe's handler that it uses, reads pictures."""
    if subject.default_handler:
        return subject.default_handler in _PICTURE_HANDLERS
    return any(map(_OF_PICTURES.search, subject.python_files.values()))


def _reason(answer: Response) -> str:
    return f"{answer.status}: {answer.complaint}"
