"""Ray Serve: a deployment with two replicas, which batch what comes in."""
# mypy: disable-error-code="import-not-found, untyped-decorator, attr-defined"

from __future__ import annotations

import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from bench.peers import work


@serve.deployment(
    num_replicas=2, max_ongoing_requests=64, logging_config={"enable_access_log": False}
)
class Classifier:
    """A picture comes as the body of a request."""

    def __init__(self) -> None:
        self.model = work.load()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def answers(self, bodies: list[bytes]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self.model.answers([self.model.prepare(body) for body in bodies])

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer one picture."""
        answer: dict[str, Any] = await self.answers(await request.body())
        return answer


if __name__ == "__main__":
    ray.init(include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Classifier.bind(), blocking=True)
