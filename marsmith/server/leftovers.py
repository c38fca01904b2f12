"""What a killed server left: end its processes, and remove its folder and its record.

Only `stop` and `serve` come here. A folder is removed only if it holds the server's nonce.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from marsmith.core.errors import ServerError
from marsmith.core.processes import end_children_of, end_server, lives, uses
from marsmith.project.project import Project
from marsmith.server.own_folder import is_ours, remove
from marsmith.server.pinned_archives import keep_deployed
from marsmith.server.state import ServerState, forget_state, recorded_server


def end_leftovers(project: Project, state: ServerState) -> None:
    """End what is left of a server whose `marsmith serve` is gone, and remove what it left."""
    folder = Path(state.folder)
    if is_ours(folder, state.nonce):
        if lives(state.front_end) and uses(state.front_end[0], folder):
            end_server(state.front_end[0])
        end_children_of(folder)  # busy workers outlive a front end that was killed
        remove(folder, state.nonce)
    forget_state(project, state.port)
    with suppress(OSError):  # it is stopped anyway
        keep_deployed(project, state.port)


def require_none_abandoned(project: Project, port: int) -> None:
    """Raise ServerError if a server is left on a port whose supervisor was killed."""
    state = recorded_server(project, port)
    if isinstance(state, ServerState) and state.abandoned:
        raise ServerError(
            f"a server of this project is left on port {port}, without its supervisor",
            f"end it: marsmith stop --port {port}",
            code="abandoned",
        )


def clear_crashed(project: Project, port: int) -> None:
    """Remove what a server left on a port of which nothing runs any more."""
    state = recorded_server(project, port)
    if isinstance(state, ServerState) and state.condition == "crashed":
        end_leftovers(project, state)
