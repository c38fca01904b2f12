"""What a server leaves when it is gone: what was deployed to it, and nothing else."""

from __future__ import annotations

from marsmith.project.project import Project
from marsmith.server.pinned_archives import discard_all_but
from marsmith.server.version_record import (
    Record,
    deployed,
    read_record,
    recording_within,
    write_record,
)


def keep_deployed(project: Project, port: int, aside: Record = ()) -> None:
    """Leave of what was served what was deployed, and `aside`; the rest is served as it is built.

    Raises OSError.
    """
    with recording_within(project, port) as alone:
        if not alone:
            return  # a deployment goes back on what it did; whoever serves next tidies up
        lasting = (*deployed(read_record(project, port)), *aside)
        lasting = tuple({(one.name, one.version): one for one in lasting}.values())
        write_record(project, port, lasting)
        discard_all_but(project, port, [one.file for one in lasting])
