"""BentoML: a service with adaptive batching, which answers lists of pictures as lists of answers.

A second service in front, for single pictures, was no better: the connections between the two were
reset under load.
"""
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import bentoml

from bench.peers import work

Picture = Annotated[Path, bentoml.validators.ContentType("image/*")]


@bentoml.service(workers=2, logging={"access": {"enabled": False}})
class Classifier:
    """Pictures come as files in a form, the way BentoML takes files."""

    def __init__(self) -> None:
        self.model = work.load()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10_000)
    def predict(self, pictures: list[Picture]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self.model.answers([self.model.prepare(one.read_bytes()) for one in pictures])
