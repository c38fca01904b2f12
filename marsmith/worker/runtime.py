"""An archive, loaded and asked as a TorchServe worker does it, without the Java front end.

The worker is TorchServe's own (ts/model_service_worker.py), or programs/light_worker.py where the
archive needs neither TorchServe nor torch (choice.py), in a process of its own. Here is what the
front end does for it: unpack, start, load, send batches, read answers (WorkerThread.java).
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from marsmith.answers.messages import Request, Response
from marsmith.answers.requests import file_request
from marsmith.archive.reader import Archive
from marsmith.core.errors import WorkerError
from marsmith.core.findings import Finding
from marsmith.project.project import Project
from marsmith.torchserve.devices import gpu_of, gpus_here
from marsmith.torchserve.environment import temporary_folder
from marsmith.torchserve.load_failure import explain
from marsmith.torchserve.tracebacks import find_failure, traceback_lines
from marsmith.torchserve.worker_protocol import (
    encode_batch,
    encode_load,
    read_batch,
    read_message,
    refusal,
)
from marsmith.worker.choice import uses_torchserve
from marsmith.worker.command import unpack
from marsmith.worker.in_process import InProcessWorker
from marsmith.worker.lost import ended, late
from marsmith.worker.notes import Notes, read_notes
from marsmith.worker.process import LOG_FILE, WorkerGoneError, WorkerLateError, WorkerProcess
from marsmith.worker.sandbox import End, Sandbox, SandboxMissingError, no_sandbox

_LARGEST_BATCH = (1 << 31) - 1  # that a message to the worker can name
_NOTES = "notes.json"
DEFAULT_TIMEOUT = 120.0  # seconds, as TorchServe's own for loading and for answering


class Runtime:
    """One worker with one archive: `with Runtime("digits.mar") as run: run.predict(image)`."""

    def __init__(
        self,
        archive: Archive | Path | str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        in_process: bool = False,
        watched: bool = False,
        sandbox: Sandbox | None = None,
        accepted: Collection[str] | None = None,
        envelope: str | None = None,
    ) -> None:
        """`timeout` is in seconds, for the load and for each batch.

        `in_process` loads the handler into this process, where breakpoints work and its exceptions
        come through; the working directory and `sys.path` are the worker's until the end, and no
        timeout holds. `watched` keeps the worker from the network and notes
        how it calls its model, for `notes`. `sandbox` keeps the archive's code away from this
        machine; where the system allows none and it is not required, `without_sandbox` says why.
        `accepted` are the digests of files whose code may run, by default those of the project in
        whose model store the archive lies. `envelope` is TorchServe's `service_envelope`, by
        default that project's.
        """
        self.archive = archive if isinstance(archive, Archive) else Archive(Path(archive))
        self._timeout = timeout
        self._in_process = in_process
        self._watched = watched
        self._sandbox = sandbox
        self.without_sandbox = ""  # what the system lacks for one
        self._accepted = accepted
        self._envelope = envelope
        self._folder: Path | None = None
        self._worker: WorkerProcess | InProcessWorker | None = None
        self.failed: Finding | None = None  # why it could not be loaded
        self.refused: list[str] = []  # what a watched worker then wanted of the network
        self.lost: Finding | None = None  # why the last worker that was lost gave no answer
        self._last_log = ""  # of the last worker that was lost

    def __enter__(self) -> Runtime:
        if self._folder is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Unpack the archive and load its model.

        Raises ArchiveError, also for a file whose code is not accepted; MissingExtraError if what
        the archive needs is not installed; and WorkerError with the true cause if the model cannot
        be loaded, or ServerError if a sandbox is required and the system allows none. Nothing is
        left behind then.
        """
        manifest = self.archive.manifest
        envelope = self._chosen_envelope()
        torchserve = uses_torchserve(self.archive, envelope)
        self._folder = temporary_folder()
        try:
            model = unpack(self.archive, self._folder, self._accepted)
            message = encode_load(
                self.archive.name,
                str(model),
                handler=manifest.handler,
                batch_size=self.batch_size,
                envelope=envelope,
                gpu=gpu_of(self.archive.model_config, gpus_here()),
            )
            # Not before: in this process it changes the folder that relative paths start from.
            self._worker = self._start_worker(model, torchserve)
            self._worker.send(message)
            if read_message(self._worker.read).code != 200:
                raise WorkerGoneError
        except WorkerGoneError as error:
            self.failed, self.refused = self._end(error, "load"), self.notes().network
            self.stop()
            failed = f"{self.archive.name}: its worker cannot load the model"
            failed += f": {_placed(self.failed)}"
            raise WorkerError(failed, self.failed.hint, code="model-not-loaded") from None
        except BaseException:
            self.stop()
            raise

    def _chosen_envelope(self) -> str:
        """Return what wraps requests: the server's setting goes before the manifest's, as there."""
        project = Project.around(self.archive.shown) if self._envelope is None else None
        envelope = project.envelope if project else self._envelope
        return envelope or self.archive.manifest.envelope or ""

    def _start_worker(self, model: Path, torchserve: bool) -> WorkerProcess | InProcessWorker:
        if self._in_process:
            return InProcessWorker(model, torchserve=torchserve)
        notes = model.parents[1] / _NOTES if self._watched else None
        if self._sandbox and not self.without_sandbox:
            limits = self._sandbox.limits
            try:
                return WorkerProcess(
                    model, self._timeout, notes, torchserve=torchserve, limits=limits
                )
            except SandboxMissingError as error:
                self.without_sandbox = str(error)
                if self._sandbox.required:
                    raise no_sandbox(self.without_sandbox) from None
                self._sandbox.missing(self.without_sandbox)
        return WorkerProcess(model, self._timeout, notes, torchserve=torchserve)

    @property
    def batch_size(self) -> int:
        """How many requests share a batch at most, as the archive's model-config says."""
        value = self.archive.model_config.get("batchSize")
        return min(value, _LARGEST_BATCH) if isinstance(value, int) and value > 0 else 1

    def predict(
        self,
        request: Request | bytes | Path,
        *,
        content_type: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer one request alone: a file, bytes with their content type, or a whole request."""
        if isinstance(request, Path):
            request = file_request(request, content_type, headers)
        if isinstance(request, bytes):
            request = Request(request, content_type, headers or {})
        return self.predict_batch([request])[0]

    def predict_batch(self, requests: Sequence[Request]) -> list[Response]:
        """Answer requests as one batch, in order.

        When the worker dies or lets its time pass, they get the answer that the front end gives
        then, and the next batch finds a new worker.
        """
        if self._folder is None:
            self.start()
        if self._worker is None:
            raise RuntimeError("stopped")
        self.lost = None
        ids = [str(uuid.uuid4()) for _ in requests]
        start = self._worker.logged if isinstance(self._worker, WorkerProcess) else 0
        try:
            self._worker.send(encode_batch(requests, ids))
            return read_batch(self._worker.read, ids)
        except WorkerGoneError as error:
            self.lost = self._end(error, "answer", start)
            self.stop()
            return [refusal(500, "Worker died.") for _ in requests]

    def failure(self, start: int = 0) -> Finding:
        """Return the last exception that the worker logged, and what to do.

        `start` leaves out so many characters of its log.
        """
        log = self.log()[start:]
        return explain(find_failure(log.splitlines()), None, log)

    def traceback(self, source_name: Callable[[str], str] = str, start: int = 0) -> list[str]:
        """Return the lines of the last traceback that the worker logged, with its causes.

        Paths in the unpacked archive become `source_name(entry)`, the user's file. `start` leaves
        out so many characters of the log. After the worker was lost, it is that worker's log.
        """
        log = self.log()[start:] if self._worker else self._last_log
        return traceback_lines(log.splitlines(), source_name)

    def _end(self, error: WorkerGoneError, task: str, start: int = 0) -> Finding:
        """Return why a worker did not do its task. `start` is where the log of that starts."""
        process = self._worker if isinstance(self._worker, WorkerProcess) else None
        if isinstance(error, WorkerLateError):
            if process and self._watched:
                process.ask_where()
            self._last_log = process.log(start) if process else self.log()
            return late(task, self._timeout, self._last_log)
        # A worker that ends prints why after its socket is closed, so wait for the end first.
        end = process.end if process else End()
        self._last_log = process.log(start) if process else self.log()
        return ended(end, self._last_log)

    def notes(self) -> Notes:
        """Return what a watched worker has done so far."""
        return read_notes((self._folder or Path()) / _NOTES)

    @property
    def pid(self) -> int | None:
        """The worker's process id, where it is a process of its own."""
        return self._worker.pid if isinstance(self._worker, WorkerProcess) else None

    def log(self) -> str:
        """Return what the worker and its handler have printed and logged."""
        if self._worker is None and self._folder:  # one that died before it could be talked to
            return (self._folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")
        return self._worker.log() if self._worker else ""

    def stop(self) -> None:
        """End the worker and remove what was unpacked."""
        if self._worker:
            self._worker.stop()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._worker = self._folder = None


def _placed(finding: Finding) -> str:
    return ": ".join(part for part in (finding.location, finding.message) if part)
