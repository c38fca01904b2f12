"""A new version must not fail where the previous version answers.

The new version is asked on the server, where its workers serve no one else yet. The previous
version is never asked there: a made-up request could fail the batch of a caller, or end a worker.
Its samples are what it answers; without any, its archive answers the made-up requests in a worker
of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from marsmith.answers.messages import Request, Response
from marsmith.archive.reader import Archive
from marsmith.check.probes import Probe, other_probes, picture_probes, wrapped_probes
from marsmith.core.errors import ArchiveError, ClientError, RolloutError, WorkerError
from marsmith.core.extras import MissingExtraError
from marsmith.deploy.change import Change
from marsmith.project.accepted_code import accepted_by
from marsmith.server.version_record import Version
from marsmith.worker.runtime import Runtime


@dataclass(frozen=True)
class _Failure:
    """A request that the new version did not answer."""

    what: str
    request: Request
    answer: Response | ClientError

    @property
    def refused(self) -> bool:
        """Whether it was refused with a reason, as a request that is not taken any more."""
        return isinstance(self.answer, Response) and self.answer.status < 500

    @property
    def reason(self) -> str:
        if isinstance(self.answer, ClientError):
            return self.answer.message
        return f"{self.answer.status}: {self.answer.complaint}"


def require_no_worse(change: Change, new: Version, old: Version) -> None:
    """Raise RolloutError if the new version fails on a request that the old one answers."""
    archives = [change.prover.archive_of(version) for version in (new, old)]
    change.transaction.step(f"compare {new.name} {new.version} with {old.version}")
    if any(archive.samples for archive in archives):
        failures = _failures(change, new, _samples(*archives))
    else:
        failures = _answered(change, archives[1], _failures(change, new, _probes()))
    for failure in failures:
        if failure.refused:
            change.transaction.warn(
                f"{new.version} refuses {failure.what} with {failure.reason}",
                f"{old.version} answers it; tell its callers",
                rule="request-refused",
            )
    failed = next((one for one in failures if not one.refused), None)
    if failed is not None:
        _ask(change, new, failed.request)  # again, so that its exception is the log's last
        finding = change.prover.failure(new)
        reason = finding.message if finding else failed.reason
        cure = finding.hint if finding else "correct it, and build it again"
        raise RolloutError(
            f"{new.version} fails on {failed.what}, which {old.version} answers: {reason}",
            f"{cure}; then raise its version, and deploy it again",
            code="worse-than-before",
        )


def _samples(new: Archive, old: Archive) -> Iterator[Probe]:
    """Yield the old version's samples which the new one has not: those were replayed."""
    replayed = [new.request_of(sample) for sample in new.samples]
    for sample in old.samples:
        request = old.request_of(sample)
        if request not in replayed:
            yield Probe(f"the sample {sample.request} of the version before", request)


def _probes() -> Iterator[Probe]:
    """Yield made-up requests of all kinds."""
    names = ["data"]
    yield from (*picture_probes(), *wrapped_probes(names), *other_probes(names))


def _failures(change: Change, new: Version, probes: Iterator[Probe]) -> list[_Failure]:
    found = []
    for probe in probes:
        change.transaction.require_going()
        answer = _ask(change, new, probe.request)
        if isinstance(answer, ClientError) or not answer.ok:
            found.append(_Failure(probe.what, probe.request, answer))
    return found


def _ask(change: Change, new: Version, request: Request) -> Response | ClientError:
    try:
        return change.session.client.predict(new.name, request, version=new.version)
    except ClientError as error:
        return error


def _answered(change: Change, old: Archive, failures: list[_Failure]) -> list[_Failure]:
    """Return the requests which the old version answers, in a worker of its own."""
    if not failures:
        return []

    project = change.session.project
    runtime = Runtime(
        old,
        timeout=change.session.timeout,
        accepted=accepted_by(project),
        envelope=project.envelope,
    )

    def ask() -> list[_Failure]:
        with runtime as run:
            return [one for one in failures if run.predict(one.request).ok]

    try:
        return change.transaction.waiting_for(ask)
    except (ArchiveError, WorkerError, MissingExtraError) as error:
        change.transaction.warn(
            f"the version before cannot be asked here: {error.message}",
            error.hint,
            rule="not-compared",
        )
        return []
