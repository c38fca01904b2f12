"""Tell from a server's log that a model let responseTimeout pass, which no answer says."""

from __future__ import annotations

import re

from marsmith.core.errors import MarsmithError
from marsmith.project.project import Project
from marsmith.server.logs import logs_folder
from marsmith.server.process import SERVER_LOG
from marsmith.torchserve.front_end_failure import explain_front_end

_END = 1 << 20  # bytes of a log that are read


def late_answer(project: Project, port: int | None, model: str) -> str | None:
    """Return why a model of this project's server gave no answer; None if that is not known."""
    try:
        log = (logs_folder(project, port) / SERVER_LOG).read_bytes()[-_END:]
    except (MarsmithError, OSError):
        return None
    text = log.decode(errors="replace")
    versions = re.findall(rf"W-\d+-{re.escape(model)}_(\S+) ERROR WorkerThread Backend", text)
    found = explain_front_end(text, model, versions[-1], {}) if versions else None
    return f"{found.message}: {found.hint}" if found else None
