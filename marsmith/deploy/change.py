"""One change at a time to what a running server serves; if it fails, the server is as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marsmith.core.errors import MarsmithError, RolloutError
from marsmith.core.interrupts import stop_signals
from marsmith.deploy.options import ChangeOptions
from marsmith.deploy.prover import Prover
from marsmith.deploy.restoring import restore
from marsmith.deploy.scaler import Scaler
from marsmith.deploy.session import Session, open_session
from marsmith.deploy.transaction import Tell, Transaction
from marsmith.project.project import Project
from marsmith.server.change_journal import (
    begin_change,
    end_change,
    forget_copies,
    unfinished_change,
)
from marsmith.server.held_workers import continue_held
from marsmith.server.version_record import Record


@dataclass(frozen=True)
class Change:
    """What a change works with."""

    session: Session
    transaction: Transaction
    scaler: Scaler
    prover: Prover

    @contextmanager
    def backing_out(self, what: str) -> Iterator[None]:
        """Undo everything if anything fails; the error says what failed, and at which step."""
        before = self.session.record
        project, port = self.session.project, self.session.state.port
        try:
            begin_change(project, port, before)
            yield
        except MarsmithError as error:
            raise self._undone(what, error, before) from error
        except OSError as error:
            why = RolloutError(
                f"{error.filename or 'a file'}: {error.strerror}",
                "make room, or correct the permissions",
                code="file-not-written",
            )
            raise self._undone(what, why, before) from error
        except BaseException:
            self._undone(what, RolloutError("", ""), before)
            raise
        finally:
            end_change(project, port)

    def _undone(self, what: str, why: MarsmithError, before: Record) -> RolloutError:
        step = self.transaction.now
        self.transaction.begin_undo()
        runs = self.session.reconnect()
        if not runs:
            why = RolloutError(
                "the server has ended", "start it again, as it was started", code="server-ended"
            )
        self.transaction.undo()
        end = f"; {self.session.difference(before)}" if runs else ""
        message = f"{what} failed at the step '{step}': {why.message}{end}"
        return RolloutError(message, why.hint, code=why.code)


@contextmanager
def open_change(project: Project, options: ChangeOptions, tell: Tell) -> Iterator[Change]:
    """Begin a change to what the project's server serves. Raises as `open_session` does."""
    with stop_signals() as stop, open_session(project, options) as session:
        port = session.state.port
        transaction = Transaction(stop, tell, lambda: end_change(project, port))
        scaler = Scaler(session, transaction)
        settle(session, scaler, tell)
        yield Change(session, transaction, scaler, Prover(session, transaction, scaler))


def settle(session: Session, scaler: Scaler, tell: Tell) -> None:
    """Undo a change whose process was killed, so that it cannot undo a later one."""
    project, port = session.project, session.state.port
    continue_held(Path(session.state.folder))
    if (before := unfinished_change(project, port)) is not None:
        tell("restoring what was served before a change that was killed")
        restore(session, scaler, before)
        end_change(project, port)
    forget_copies(project, port)
