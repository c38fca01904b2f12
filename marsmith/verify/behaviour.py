"""Does an archive load, and answer as a server needs it to? Seen in the runtime."""

from __future__ import annotations

import io
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from marsmith.errors import WorkerError
from marsmith.findings import Finding, Severity
from marsmith.messages import Request, Response
from marsmith.processes import resident_memory
from marsmith.runtime import Runtime
from marsmith.samples import Sample, difference
from marsmith.verify.load_failures import explain_load
from marsmith.verify.subject import Subject

_LARGEST_BATCH = 64
_REPEATS = 200  # requests in which memory is watched
_PATIENCE = 12.0  # seconds for all of them
_WARM = 50  # requests until caches and the allocator are settled
_GROWTH = 32 << 10  # bytes per request that count as growth
_GARBAGE = Request.of(b"\x00no image\xff" * 3, "application/octet-stream")
# What the worker logs when it can do nothing with what a handler returned (ts/service.py,
# ts/protocol/otf_message_handler.py), by the status message that the requests get.
_SPOILED = {
    "number of batch response mismatched": (
        "answer-count",
        "handle returns another number of answers than it got requests",
        "return a list with one answer per request, in their order",
    ),
    "Invalid model predict output": (
        "answer-type",
        "handle returns something else than a list",
        "return a list with one answer per request",
    ),
    "Unsupported model output data type.": (
        "answer-type",
        "handle returns values that do not serialise",
        "return bytes, text, or what JSON can hold: tensor.tolist()",
    ),
}


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
        with run:
            self.figures["load"] = time.monotonic() - start
            yield from self._check_answers(run)

    def _check_answers(self, run: Runtime) -> Iterator[Finding]:
        samples = self.subject.archive.samples
        if not samples:
            yield self._without_samples()
        request = yield from self._first(run, samples)
        if request is None:
            return
        steady = yield from self._check_mode(run, request)
        if not (yield from self._check_batch(run, request, steady)):
            yield from self._check_neighbours(run, request)
        yield from self._check_memory(run, request)

    def _without_samples(self) -> Finding:
        name = self.subject.archive.name
        hint = f"record one: marsmith sample {name} INPUT"
        message = "it has no sample, so nothing proves that it answers rightly"
        return self.subject.finding("no-sample", message, hint, severity=Severity.WARNING)

    def _first(
        self, run: Runtime, samples: tuple[Sample, ...]
    ) -> Generator[Finding, None, Request | None]:
        """Yield what is wrong with the samples' answers; return a request that is answered."""
        if not samples:
            request = Request.of(_picture())
            return request if run.predict(request).ok else None
        good = None
        for sample in samples:
            request = Request.of(self.subject.archive.read(sample.request))
            start = time.monotonic()
            answer = run.predict(request)
            self.figures.setdefault("answer", time.monotonic() - start)
            wrong = self._wrong(sample, answer)
            if answer.ok:
                good = good or request
            if spoiled := self._spoiled(answer):
                yield spoiled
                return None
            if wrong:
                message = f"its sample {sample.request} is answered wrongly: {wrong}"
                hint = "mend the model or its handler; if this is right: marsmith sample"
                yield self.subject.finding("sample", message, hint, sample.response)
        return good

    def _wrong(self, sample: Sample, answer: Response) -> str | None:
        if not answer.ok:
            return f"status {answer.status}: {answer.complaint}"
        expected = self.subject.archive.read(sample.response)
        return difference(expected, answer.body, sample.tolerance, sample.largest)

    def _spoiled(self, answer: Response) -> Finding | None:
        if answer.status != 503 or not isinstance(answer.values, dict):
            return None
        found = _SPOILED.get(str(answer.values.get("message")))
        return self.subject.finding(*found, self.subject.handler_file, 1) if found else None

    def _check_mode(self, run: Runtime, request: Request) -> Generator[Finding, None, bool]:
        """Yield what speaks for training mode; say if the same request gets the same answer."""
        first, second = run.predict(request), run.predict(request)
        changed = difference(first.body, second.body, 1e-6)
        calls = run.notes()["calls"]
        training = any(call.get("training") for call in calls)
        # Without a sample nobody says that an answer stays: it may hold the time, or be drawn.
        if changed and (training or self.subject.archive.samples):
            cause = "the model is in training mode" if training else "something in it is random"
            message = f"two calls with the same request differ ({changed}): {cause}"
            hint = (
                "call model.eval() in initialize" if training else "seed or remove what is random"
            )
            yield self.subject.finding("training-mode", message, hint, self._handler, 1)
        elif any(call.get("random") for call in calls):
            message = "the model is in training mode, so its answers depend on the batch"
            hint = "call model.eval() in initialize"
            yield self.subject.finding("training-mode", message, hint, self._handler, 1)
        if any(call.get("gradients") for call in calls):
            message = "the model computes gradients, which takes memory and time for nothing"
            hint = "call it within `with torch.inference_mode():`"
            yield self.subject.finding(
                "gradients", message, hint, self._handler, 1, severity=Severity.WARNING
            )
        return changed is None

    @property
    def _handler(self) -> str | None:
        return self.subject.handler_file

    def _check_batch(
        self, run: Runtime, request: Request, steady: bool
    ) -> Generator[Finding, None, bool]:
        """Hold an answer against those to the same request in a full batch; say if all fail."""
        size = min(run.batch_size, _LARGEST_BATCH)
        if size < 2:
            return False
        alone = run.predict(request)
        tolerance = max([1e-3, *(sample.tolerance for sample in self.subject.archive.samples)])
        together = run.predict_batch([request] * size)
        if spoiled := self._spoiled(together[0]):
            yield spoiled
            return True
        if not all(answer.ok for answer in together):
            failed = next(answer for answer in together if not answer.ok)
            reason = run.failure().message if failed.status >= 500 else failed.complaint
            message = f"it answers one request, but not {size} in a batch: {reason}"
            hint = "batchSize = 1, or a model and a handler that take a batch dimension"
            yield self.subject.config_finding("batch-size", "batchSize", message, hint)
            return True
        for answer in together if steady else ():
            if wrong := difference(alone.body, answer.body, tolerance):
                message = f"alone and in a batch of {size} the same request is answered otherwise"
                hint = (
                    "let no request of a batch reach another's answer: order, padding, batch norm"
                )
                finding = f"{message}: {wrong}"
                yield self.subject.finding("batch-answer", finding, hint, self._handler, 1)
                break
        return False

    def _check_neighbours(self, run: Runtime, request: Request) -> Iterator[Finding]:
        """One request that is no image must not spoil the others, nor end the worker."""
        pid = run.pid
        single = run.batch_size < 2
        batch = [_GARBAGE] if single else [request, _GARBAGE, request][: run.batch_size]
        answers = run.predict_batch(batch)
        if run.pid != pid:
            message = "a request that is no image ends the worker"
            hint = "catch what a request can raise, and answer it with set_response_status"
            yield self.subject.finding("bad-request", message, hint, self._handler, 1)
        elif not all(a.ok for a, sent in zip(answers, batch, strict=True) if sent is request):
            message = "one bad request spoils the answers of all others in its batch"
            hint = "catch it per request and call context.set_response_status(400, …, index)"
            yield self.subject.finding(
                "bad-request", message, hint, self._handler, 1, severity=Severity.WARNING
            )

    def _check_memory(self, run: Runtime, request: Request) -> Iterator[Finding]:
        deadline, sizes = time.monotonic() + _PATIENCE, []
        for count in range(_WARM + _REPEATS):
            run.predict(request)
            if count >= _WARM:
                sizes.append(resident_memory(run.pid or 0))
            if time.monotonic() > deadline:
                break
        quarter = len(sizes) // 4
        if quarter < 10:
            return
        steps = [sizes[(k + 1) * quarter - 1] - sizes[k * quarter] for k in range(4)]
        growth = (sizes[-1] - sizes[0]) / len(sizes)
        if min(steps) > 0 and growth > _GROWTH:
            message = f"each request leaves {growth / 1000:.0f} kB behind in the worker"
            hint = "keep nothing of a request: lists, caches, tensors with gradients"
            yield self.subject.finding(
                "memory", message, hint, self._handler, 1, severity=Severity.WARNING
            )


def _picture() -> bytes:
    """Return a small picture for archives that have no sample to be asked with."""
    from PIL import Image

    image = Image.radial_gradient("L").convert("RGB").resize((224, 224))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
