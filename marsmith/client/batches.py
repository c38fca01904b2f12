"""Many requests at once, and their answers in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from marsmith.answers.messages import Response
from marsmith.core.errors import ClientError


def in_parallel(
    ask: Callable[[bytes], Response], bodies: Iterable[bytes], connections: int
) -> list[Response | ClientError]:
    """Call `ask` for each body; return answers or ClientErrors, in the order of `bodies`.

    Each of `connections` threads takes the next body when it is free, so that few bodies are in
    memory. Any other error, and Ctrl-C, ends all threads once their request is answered.
    """
    if connections < 1:
        raise ClientError(
            f"{connections} connections are too few",
            "allow at least one: connections=1",
            code="bad-argument",
        )
    answers: dict[int, Response | ClientError] = {}
    numbered = enumerate(bodies)
    taking = threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        try:
            while not stopped.is_set():
                with taking:
                    number, body = next(numbered, (-1, b""))
                if number < 0:
                    return
                try:
                    answers[number] = ask(body)
                except ClientError as error:
                    answers[number] = error
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(max_workers=connections) as pool:
        try:
            for done in [pool.submit(work) for _ in range(connections)]:
                done.result()
        finally:
            stopped.set()
    return [answers[number] for number in sorted(answers)]
