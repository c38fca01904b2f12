"""When is a server ready? When every model has answered its own samples rightly.

TorchServe itself says healthy while no worker can load its model, and retries for five minutes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

from marsmith.archive import Archive
from marsmith.client import Client
from marsmith.errors import ClientError, ServerError, WorkerError
from marsmith.samples import difference
from marsmith.server import JAVA_LOG, SERVER_LOG, WORKERS_LOG, TorchServe
from marsmith.stop_signals import StopRequest
from marsmith.worker_log import explain, find_failure, model_lines

# Seconds between a worker's death and the last line of its traceback in the log.
_GRACE = 0.5
# What the front end logs once a worker is gone (WorkerThread.java, BatchAggregator.java), and the
# worker itself where it can (model_service_worker.py); of an exception only the latter is sure.
_GONE = (
    r"\w+ \w+ (Load model failed|Backend worker (error|thread|did not|monitoring)|Auto recovery)"
)
_DIED = "Backend worker process died"

SourceName = Callable[[str, str], str]


def wait_until_ready(
    server: TorchServe,
    client: Client,
    archives: list[Archive],
    deadline: float,
    stop: StopRequest,
    source_name: SourceName,
) -> None:
    """Return when every archive is loaded and proven, or the user wants to stop.

    `deadline` is on time.monotonic()'s clock; `source_name` turns an archive's and an entry's name
    into the file that the user knows. Raises WorkerError or ServerError.
    """
    waiting = list(archives)
    while waiting and not stop.requested:
        _require_alive(server, archives, source_name)
        if time.monotonic() > deadline:
            raise ServerError(
                f"{waiting[0].name} was not ready in time",
                f"allow it more: --timeout SECONDS; what it does now: {server.log_folder}",
            )
        waiting = [archive for archive in waiting if not _is_up(client, archive)]
        time.sleep(0.05)
    for archive in archives:
        if not stop.requested:
            prove(client, archive)


def prove(client: Client, archive: Archive) -> None:
    """Send an archive's samples to its model. Raises ServerError at the first wrong answer."""
    for sample in archive.samples:
        answer = client.predict(archive.name, archive.read(sample.request))
        if answer.ok:
            wrong = difference(archive.read(sample.response), answer.body, sample.tolerance)
        else:
            wrong = f"status {answer.status}: {answer.body.decode(errors='replace')[:300]}"
        if wrong:
            raise ServerError(
                f"{archive.name} answers its sample {sample.request} wrongly: {wrong}",
                "mend the model or its handler; if this answer is right, expect it: edit the "
                "sample's response",
            )


def _is_up(client: Client, archive: Archive) -> bool:
    try:
        described = client.describe(archive.name)
    except ClientError:
        return False  # not listening yet, or the model not registered yet
    return any(
        model.version == archive.manifest.model_version and model.ready_workers >= model.min_workers
        for model in described
    )


def _require_alive(
    server: TorchServe, archives: Iterable[Archive], source_name: SourceName
) -> None:
    """Raise the true cause if the front end is gone or a worker could not load its model."""
    running = server.is_running()
    log, workers_log = server.log(SERVER_LOG), server.log(WORKERS_LOG)
    for archive in archives:
        worker = rf"W-\d+-{re.escape(f'{archive.name}_{archive.manifest.model_version}')}"
        if re.search(f"{worker} {_GONE}", log) or re.search(
            f"{worker}-stdout {_DIED}", workers_log
        ):
            time.sleep(_GRACE)
            raise _worker_error(server, archive, source_name)
        refused = re.search(rf"Failed to load model: {re.escape(archive.path.name)}\s*(.*)", log)
        if refused:
            raise ServerError(
                f"TorchServe refuses {archive.path.name}: {refused[1] or 'no reason given'}",
                f"build it again: marsmith build {archive.name}",
            )
    if not running:
        words = [*server.log(JAVA_LOG).splitlines(), *log.splitlines()] or ["it said nothing"]
        telling = next((line for line in words if "nvalid" in line or "rror" in line), words[-1])
        raise ServerError(
            f"TorchServe did not start: {telling}",
            f"correct config.properties if it names a setting; its logs: {server.log_folder}",
        )


def _worker_error(server: TorchServe, archive: Archive, source_name: SourceName) -> WorkerError:
    lines = model_lines(server.log(WORKERS_LOG), archive.name, archive.manifest.model_version or "")
    finding = explain(find_failure(lines), str(server.log_folder / WORKERS_LOG))
    place = ""
    if finding.file:
        place = f" at {source_name(archive.name, finding.file)}:{finding.line}"
    return WorkerError(
        f"{archive.name}: its worker cannot load the model{place}: {finding.message}",
        finding.hint,
    )
