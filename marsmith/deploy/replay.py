"""Samples, replayed against one version of a running server."""

from __future__ import annotations

from marsmith.answers.messages import Response
from marsmith.answers.samples import Sample
from marsmith.archive.reader import Archive
from marsmith.client import Client
from marsmith.client.batches import in_parallel
from marsmith.core.errors import ClientError, RolloutError

TIMES = 24  # requests at least: a version that fails on half of them passes once in 16 million
_CONNECTIONS = 4


def replay(client: Client, archive: Archive, version: str, workers: int) -> int:
    """Send each sample often enough to warm up every worker; return the number of requests.

    Raises RolloutError if an answer is not the expected one. Nothing is retried.
    """
    samples = archive.samples
    if not samples:
        return 0
    rounds = max(-(-TIMES // len(samples)), 4 * workers)
    for sample in samples:
        request = archive.request_of(sample)
        answers = in_parallel(
            lambda one: client.predict(archive.name, one, version=version),
            [request] * rounds,
            min(_CONNECTIONS, 2 * workers),
        )
        expected = archive.read(sample.response)
        wrong = [found for answer in answers if (found := complaint(sample, expected, answer))]
        if wrong:
            raise RolloutError(
                f"{archive.name} {version} answers its sample {sample.request} wrongly, "
                f"{len(wrong)} times of {rounds}: {wrong[0]}",
                "correct the model or its handler, raise its version, build and deploy it again",
                code="wrong-answer",
            )
    return rounds * len(samples)


def complaint(sample: Sample, expected: bytes, answer: Response | ClientError) -> str | None:
    """Say what is wrong with an answer to a sample; None if nothing is."""
    if isinstance(answer, ClientError):
        return answer.message
    return sample.complaint(expected, answer)
