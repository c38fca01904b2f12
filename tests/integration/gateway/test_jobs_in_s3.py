"""Jobs in S3 and SQS: two gateways share them. moto's server stands for AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from marsmith.gateway.jobs.s3 import S3Store
from tests.integration.gateway.jobs import (
    ASYNC,
    PREDICT,
    Gateway,
    a_gateway,
    curl,
    work_project,
)
from tests.integration.kit import Kit, wait_for

BUCKET = "marsmith-test"


@pytest.fixture(scope="module")
def aws() -> Iterator[Mapping[str, str]]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "of-the-test",
        "AWS_SECRET_ACCESS_KEY": "of-the-test",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    server.stop()


def client(aws: Mapping[str, str], service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        region_name=aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory, aws: Mapping[str, str]) -> Kit:
    where = {"LocationConstraint": aws["AWS_DEFAULT_REGION"]}
    client(aws, "s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    queue = client(aws, "sqs").create_queue(QueueName="jobs")["QueueUrl"]
    jobs = f'lease = 3\ns3 = "s3://{BUCKET}/of/jobs"\nsqs = "{queue}"\n'
    return work_project(tmp_path_factory.mktemp("s3"), jobs)


@pytest.fixture(scope="module")
def gateway(kit: Kit, aws: Mapping[str, str]) -> Iterator[Gateway]:
    with a_gateway(kit, env=aws) as running:
        yield running


def keys(aws: Mapping[str, str], prefix: str = "") -> list[str]:
    said = client(aws, "s3").list_objects_v2(Bucket=BUCKET, Prefix=f"of/jobs/{prefix}")
    return [one["Key"] for one in said.get("Contents", ())]


def test_a_job_is_answered_from_the_bucket(gateway: Gateway, aws: Mapping[str, str]) -> None:
    path = gateway.submit(say="stored")
    job = gateway.ended(path)
    assert (job["state"], job["answer"]["content_type"]) == ("succeeded", "text/plain")
    assert gateway.ask("GET", f"{path}/answer").body == b"stored"
    assert job["answer"]["url"].startswith(aws["AWS_ENDPOINT_URL"])
    assert curl(job["answer"]["url"]).stdout == b"stored"
    assert gateway.ask("DELETE", path).status == 204
    assert keys(aws, f"-/{path[6:]}/") == []


def test_an_upload_goes_straight_to_the_bucket(gateway: Gateway, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text(json.dumps({"say": "up"}))
    made = gateway.ask("POST", "/uploads").json()
    assert curl("-f", "-T", str(body), made["url"]).returncode == 0
    said = gateway.ask("POST", f"{PREDICT}?upload={made['id']}", b"", ASYNC)
    assert gateway.ended(said.headers["location"])["state"] == "succeeded"


def test_the_same_id_is_one_job(gateway: Gateway) -> None:
    body = b'{"say": "once"}'
    assert gateway.ask("PUT", "/jobs/s3-1?model=work", body).status == 202
    assert gateway.ask("PUT", "/jobs/s3-1?model=work", body).status == 202
    assert gateway.ask("PUT", "/jobs/s3-1?model=work", b"{}").status == 409
    assert gateway.ended("/jobs/s3-1")["state"] == "succeeded"


def test_another_gateway_takes_over_the_jobs_of_a_killed_one(
    kit: Kit, gateway: Gateway, aws: Mapping[str, str], tmp_path: Path
) -> None:
    with a_gateway(kit, env=aws) as second:
        notes = [tmp_path / str(number) for number in range(4)]
        paths = [gateway.submit(note=str(one), sleep=1, say=one.name) for one in notes]
        wait_for(notes[0].exists, "one to begin")
        gateway.kill(whole=True)
        try:
            assert [second.ended(one)["state"] for one in paths] == ["succeeded"] * 4
            said = [second.ask("GET", f"{one}/answer").text for one in paths]
            assert said == ["0", "1", "2", "3"]
            assert len([one for one in keys(aws) if "/answer-" in one and paths[0][6:] in one]) == 1
        finally:
            gateway.start(aws)


def test_a_job_cancelled_at_one_gateway_ends_at_the_other(
    kit: Kit, gateway: Gateway, aws: Mapping[str, str]
) -> None:
    path = gateway.submit(sleep=8)
    wait_for(lambda: gateway.job(path)["state"] == "running", "it to run", 20)
    with a_gateway(kit, env=aws) as second:
        assert second.ask("DELETE", path).json()["state"] == "cancelled"
        running = 'marsmith_gateway_jobs{state="running"} 0.0'
        wait_for(lambda: running in gateway.ask("GET", "/metrics").text, "it to end", 10)
        assert gateway.job(path)["state"] == "cancelled"


def test_only_what_jobs_wrote_is_swept(
    aws: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    s3, store = client(aws, "s3"), S3Store(f"s3://{BUCKET}/swept")
    foreign = ["swept/of-theirs", "swept/a/b/c", "swept/-/id/theirs", "swept2/-/id/job", "other"]
    for key in foreign:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert store.put("-/id/job", b"{}")
    assert store.put("-/id/input-0123456789abcdef", b"")
    store.sweep(time.time() + 60)
    said = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    left = {one["Key"] for one in said if not one["Key"].startswith("of/jobs/")}
    assert left == {*foreign}
    for key in foreign:
        s3.delete_object(Bucket=BUCKET, Key=key)


def test_workers_never_get_the_credentials(gateway: Gateway) -> None:
    workers = gateway.ask("GET", "/models/work").json()[0]["workers"]
    environments = [Path(f"/proc/{one['pid']}/environ").read_bytes() for one in workers]
    assert len(environments) == 2
    assert not any(b"of-the-test" in one for one in environments)


def test_without_the_bucket_a_job_is_refused(gateway: Gateway, aws: Mapping[str, str]) -> None:
    s3 = client(aws, "s3")
    for key in keys(aws):
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.delete_bucket(Bucket=BUCKET)
    said = gateway.ask("POST", PREDICT, b"{}", ASYNC)
    assert (said.status, said.json()["code"]) == (503, "job-storage")
    assert said.headers["retry-after"] == "5"
    assert gateway.ask("POST", PREDICT, b'{"say": "still"}').body == b"still"
