"""A fixture for tests of handlers, found by pytest wherever Marsmith is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from marsmith.worker.runtime import DEFAULT_TIMEOUT, Runtime

RunArchive = Callable[..., Runtime]


@pytest.fixture
def run_archive(request: pytest.FixtureRequest) -> Iterator[RunArchive]:
    """Load archives as a worker does: `run_archive("model_store/digits.mar").predict(image)`.

    With `in_process=True`, and whenever pytest runs with --pdb or --trace, the handler runs in
    pytest's own process, where breakpoints stop. All are ended with the test.
    """
    debugs = request.config.getoption("usepdb") or request.config.getoption("trace")
    with ExitStack() as stack:

        def run(
            archive: Path | str,
            *,
            in_process: bool = bool(debugs),
            timeout: float = DEFAULT_TIMEOUT,
        ) -> Runtime:
            return stack.enter_context(Runtime(archive, in_process=in_process, timeout=timeout))

        yield run
