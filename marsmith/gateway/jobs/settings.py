"""`[gateway.jobs]` of archives.toml, as the web process is told of it; no IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

JOBS_FOLDER = "gateway/jobs"  # of Project.state_folder


@dataclass(frozen=True)
class JobSettings:
    """How jobs are kept and answered. Times are in seconds, sizes in bytes."""

    ttl: int = 86400  # after which a job and its files go
    quota: int = 1000  # jobs and uploads that a key has at once
    concurrent: int = 16  # jobs that a gateway answers at once
    lease: int = 30  # after which another gateway takes over a job of one that ended
    max_upload: int = 1 << 30
    address_ttl: int = 3600  # of signed addresses
    s3: str = ""  # s3://BUCKET/PREFIX; empty: a folder
    sqs: str = ""  # the URL of a queue; empty: SQLite
    webhook_hosts: tuple[str, ...] = ()  # HOST or HOST:PORT
    private_webhook_hosts: tuple[str, ...] = ()  # the same, at addresses that are not public
    webhook_pauses: tuple[float, ...] = (5, 30, 300, 1800, 7200)  # between tries


def job_settings(gateway: Mapping[str, Any]) -> JobSettings:
    """Read the table `jobs` of `[gateway]`, which the project has checked."""
    known = {one.name for one in fields(JobSettings)}
    given = {name: value for name, value in gateway.get("jobs", {}).items() if name in known}
    lists = {name: tuple(one) for name, one in given.items() if isinstance(one, (list, tuple))}
    return JobSettings(**(given | lists))


def uses_aws(gateway: Mapping[str, Any]) -> bool:
    """Whether jobs are in S3 or SQS."""
    return bool(gateway.get("jobs", {}).keys() & {"s3", "sqs"})
