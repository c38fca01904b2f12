"""Many requests at once, and their answers in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from marsmith.answers.messages import Response
from marsmith.core.errors import ClientError

_Sent = TypeVar("_Sent")


def in_parallel(
    ask: Callable[[_Sent], Response], requests: Iterable[_Sent], connections: int
) -> list[Response | ClientError]:
    """Call `ask` for each request; return answers or ClientErrors, in the order of `requests`.

    Each of `connections` threads takes the next one when it is free, so that few of them are in
    memory. Any other error, and Ctrl-C, ends all threads once their request is answered.
    """
    if connections < 1:
        raise ClientError(
            f"{connections} connections are too few",
            "allow at least one: connections=1",
            code="bad-argument",
        )
    answers: dict[int, Response | ClientError] = {}
    numbered = enumerate(requests)
    taking = threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        try:
            while not stopped.is_set():
                with taking:
                    numbered_one = next(numbered, None)
                if numbered_one is None:
                    return
                number, request = numbered_one
                try:
                    answers[number] = ask(request)
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
