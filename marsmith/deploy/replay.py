"""Samples replayed against exactly one version of a running server."""

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
    """Ask for each sample again and again until every worker is warm; return how often in all.

    Raises RolloutError for the first answer that is not as expected; none is asked for twice.
    """
    samples = archive.samples
    if not samples:
        return 0
    rounds = max(-(-TIMES // len(samples)), 4 * workers)
    for sample in samples:
        body = archive.read(sample.request)
        answers = in_parallel(
            lambda one: client.predict(archive.name, one, version=version),
            [body] * rounds,
            min(_CONNECTIONS, 2 * workers),
        )
        expected = archive.read(sample.response)
        wrong = [found for answer in answers if (found := complaint(sample, expected, answer))]
        if wrong:
            raise RolloutError(
                f"{archive.name} {version} answers its sample {sample.request} wrongly, "
                f"{len(wrong)} times of {rounds}: {wrong[0]}",
                "mend the model or its handler, build it with another version, and deploy again",
            )
    return rounds * len(samples)


def complaint(sample: Sample, expected: bytes, answer: Response | ClientError) -> str | None:
    """Say what is wrong with an answer to a sample; None if nothing is."""
    if isinstance(answer, ClientError):
        return answer.message
    return sample.complaint(expected, answer)
