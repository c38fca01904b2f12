"""Every error a user can meet.

MarsmithError
├── ProjectError          no project here, or a file of it cannot be used
│   └── FindingsError     the project or an archive has problems: all of them (findings.py)
├── BuildError            an archive could not be made
├── ArchiveError          a .mar is missing, damaged or not an archive
├── WeightsError          a file of weights is damaged, or not of the expected kind
├── SigningError          a key cannot be used, or a signature does not hold
├── CertificateError      a TLS certificate or its key cannot be used
├── ServerError           TorchServe did not start, or did not stop
│   ├── PortInUseError    another process listens on a port we need
│   ├── RolloutError      a version could not be deployed; the server is as before
│   └── WorkerError       a worker could not load its model
└── ClientError           a request did not get its answer
    ├── UnreachableError  nothing answers at that address
    ├── DeadlineError     no answer came within the time that was allowed
    └── RefusedError      TorchServe answered with a status other than 2xx
"""

from __future__ import annotations


class MarsmithError(Exception):
    """An error with the next action.

    `message` says what is wrong in one sentence; `hint` says what to do about it. `code` names the
    kind of error and never changes: docs/errors.md lists each with its cause and cure.
    """

    code = "marsmith"  # each class has a default

    def __init__(self, message: str, hint: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code


class ProjectError(MarsmithError):
    """There is no project here, or one of its files cannot be used."""

    code = "project"


class BuildError(MarsmithError):
    """An archive could not be made."""

    code = "build"


class ArchiveError(MarsmithError):
    """A model archive is missing, damaged or not an archive."""

    code = "archive"


class WeightsError(MarsmithError):
    """A file of weights is damaged, or not of the expected kind."""

    code = "weights"


class SigningError(MarsmithError):
    """A key cannot be used, or a signature does not hold."""

    code = "signing"


class CertificateError(MarsmithError):
    """A TLS certificate or its key cannot be used."""

    code = "certificate"


class ServerError(MarsmithError):
    """TorchServe did not start, or did not stop."""

    code = "server"


class PortInUseError(ServerError):
    """Another process listens on a port that the server needs."""

    code = "port-in-use"


class RolloutError(ServerError):
    """A version could not be deployed or removed; the server is as before."""

    code = "rollout"


class WorkerError(ServerError):
    """A worker could not load its model."""

    code = "worker"


class ClientError(MarsmithError):
    """A request did not get its answer."""

    code = "client"


class UnreachableError(ClientError):
    """Nothing answers at the address, or it stopped answering.

    `sent`: the connection was lost after it was made, so the request may have been carried out.
    """

    code = "unreachable"

    def __init__(
        self, message: str, hint: str, *, sent: bool = False, code: str | None = None
    ) -> None:
        super().__init__(message, hint, code=code)
        self.sent = sent


class DeadlineError(ClientError):
    """No answer came within the time that was allowed."""

    code = "deadline"


class RefusedError(ClientError):
    """TorchServe answered with a status other than 2xx."""

    code = "refused"

    def __init__(self, message: str, hint: str, status: int, *, code: str | None = None) -> None:
        super().__init__(message, hint, code=code)
        self.status = status
