"""A separate TorchServe, in a temporary folder, that serves one configuration after another.

Each configuration is an archive as `marsmith build` writes it, so that what is measured is what
will be served: an archive's model-config overrides parameters of the management API.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.archive.reader import Archive
from marsmith.archive.stored_zip import Content, write_stored_zip
from marsmith.building.writer import write_archive
from marsmith.client import ONCE, Client
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import BuildError, ClientError
from marsmith.core.interrupts import StopRequest
from marsmith.project.entries import contents
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.security.exposure_rules import NO_WORKFLOWS
from marsmith.server.process import KEY_FILE, TorchServe
from marsmith.server.readiness import Start
from marsmith.torchserve.ports import free_ports
from marsmith.torchserve.properties import addresses, with_ports
from marsmith.tune.engine_variants import Calibration, make
from marsmith.tune.space import Configuration, Variant, applied

_TIMEOUT = 120.0  # seconds for a model to load and to answer; TorchServe's own
_PATIENCE = 30.0  # seconds for workers to end
# Keys of config.properties that do not apply to this server.
_OWN = "inference_address management_address metrics_address grpc_inference_address "
_OWN += "grpc_management_address enable_grpc_ssl model_store load_models models model_snapshot"
_WEEK = 7 * 24 * 60  # minutes that keys are valid; they are not renewed during a search


@dataclass(frozen=True)
class TemporaryProject(Project):
    """A project that builds into another folder, with its state in that folder."""

    folder: Path

    @property
    def model_store(self) -> Path:
        """Where its archives are built."""
        return self.folder / "model_store"

    def state_path(self, name: str) -> Path:
        """Return where a file or folder of the project's state is."""
        return self.folder / name

    def state_folder(self, name: str) -> Path:
        """Return a folder for the project's state."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        return self.folder / name


class TrialServer:
    """Serves configurations of one archive. Use it as a context manager; it leaves nothing."""

    def __init__(
        self,
        project: Project,
        spec: ArchiveSpec,
        stop: StopRequest,
        calibration: Calibration | None = None,
    ) -> None:
        """Prepare; TorchServe starts with the first configuration."""
        self._spec = spec
        self._stop = stop
        self._calibration = calibration
        self._temporary = tempfile.TemporaryDirectory(prefix="marsmith-tune-")
        self._store = TemporaryProject(project.root, Path(self._temporary.name))
        self._failed_exports: dict[Variant, BuildError] = {}
        self._manifests: dict[Variant, bytes] = {}
        self._server: TorchServe | None = None
        self._client = Client()
        self._url = ""
        self._made = 0
        self._logs = project.state_folder("tune") / f"{spec.name}-logs"

    def __enter__(self) -> TrialServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self._server is not None:
            self._server.stop()
        self._temporary.cleanup()

    def serve(self, configuration: Configuration) -> Archive | None:
        """Serve a configuration once its samples pass; None if the user stops before.

        Raises WorkerError with the true cause if a worker cannot load it, ServerError if a sample
        fails, BuildError if its archive cannot be built.
        """
        archive = self._build(configuration)
        deadline = time.monotonic() + _TIMEOUT
        try:
            server = self._serving(archive)
            Start(server, self._client, [archive], deadline, self._stop, _entry).wait()
        except BaseException:
            self.forget(archive)
            raise
        return None if self._stop.requested else archive

    def forget(self, archive: Archive) -> None:
        """Stop serving an archive, if TorchServe knows it."""
        # If the server has ended, the next `serve` starts another one.
        with suppress(ClientError):
            if self._url:
                self._unregister(archive.name)
        archive.path.unlink(missing_ok=True)

    def _unregister(self, name: str) -> None:
        """Unregister a model and wait for its workers, which would slow down the next ones."""
        workers = [worker.pid for model in self._client.describe(name) for worker in model.workers]
        self._client.unregister(name)
        deadline = time.monotonic() + _PATIENCE
        while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
            time.sleep(0.02)

    def url(self, archive: Archive) -> str:
        """Return the URL of an archive's predictions."""
        return f"{self._url}/predictions/{quote(archive.name)}"

    def headers(self) -> dict[str, str]:
        """Return the headers that requests need."""
        return self._client.inference_headers()

    def _serving(self, archive: Archive) -> TorchServe:
        """Register an archive, and return the server; a new server if the last one ended."""
        if self._server is not None and self._server.is_running():
            self._client.register(archive.path.name, model_name=archive.name)
            return self._server
        if self._server is not None:
            self._server.stop()
        return self._start(archive)

    def _start(self, archive: Archive) -> TorchServe:
        config = {
            key: value for key, value in self._store.config.items() if key not in _OWN.split()
        }
        config |= {"enable_model_api": "true", "allowed_urls": "(?!)"}
        config |= {"workflow_store": NO_WORKFLOWS, "token_expiration_min": str(_WEEK)}
        properties = with_ports(config, free_ports(5))
        places = addresses(properties)
        server = self._server = TorchServe(
            properties, self._store.model_store, {archive.name: archive.path.name}, self._logs
        )
        server.start()
        self._client.close()
        self._url = places[0].url
        key_file = server.folder / KEY_FILE
        self._client = Client(
            self._url, places[1].url, key_file=key_file, timeout=_TIMEOUT, retries=ONCE
        )
        return server

    def _build(self, configuration: Configuration) -> Archive:
        """Build the archive of a configuration, under a new name."""
        self._make(configuration.variant)
        spec = applied(self._spec, configuration)
        if configuration.variant not in self._manifests:
            write_archive(self._store, spec)
            built = Archive(self._store.model_store / f"{spec.name}.mar")
            self._manifests[configuration.variant] = built.read(MANIFEST_FILE)
        files: dict[str, Content] = dict(contents(self._store, spec))
        files[MANIFEST_FILE] = self._manifests[configuration.variant]
        self._made += 1
        path = self._store.model_store / f"{spec.name}-{self._made}.mar"
        with replacing(path) as file:
            write_stored_zip(file, files)
        return Archive(path)

    def _make(self, variant: Variant) -> None:
        """Export a variant's files. After a failure, the same error is raised again."""
        if error := self._failed_exports.get(variant):
            raise error
        try:
            make(self._store, self._spec, variant, self._calibration)
        except BuildError as error:
            self._failed_exports[variant] = error
            raise


def _entry(_archive: str, entry: str) -> str:
    return entry
