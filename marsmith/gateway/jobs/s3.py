"""Jobs in S3 and SQS, and in what speaks their protocols (extra `s3`).

Where they are and with which credentials, boto3 finds out: AWS_REGION, AWS_ENDPOINT_URL,
AWS_PROFILE, a role of the machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from marsmith.gateway.jobs.refusals import refusal
from marsmith.gateway.jobs.work_queue import Message, Task

_MISSING = {"404", "NoSuchKey"}
_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict"}
# OWNER/ID/FILE, as Jobs names them: others may keep objects below the same prefix.
_OURS = re.compile(
    r"(-|[0-9a-f]{12}|marsmith)/[\w-]{1,64}"
    r"/(job|outcome|running|told|issued|upload|(input|answer)-[0-9a-f]{16})",
    re.ASCII,
)
_WAIT = 2  # seconds that one look at an empty queue takes
_MOST_AT_ONCE = 10  # messages that SQS lends at once
_LONGEST_DELAY = 43200  # seconds (SQS)
_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3})


class S3Store:
    """A store in a bucket, below a prefix. It touches only objects that jobs have written."""

    def __init__(self, url: str) -> None:
        """`url` is s3://BUCKET/PREFIX."""
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/"
        signed = _CONFIG.merge(Config(signature_version="s3v4"))
        self._client: Any = boto3.client("s3", config=signed)

    def put(self, name: str, content: bytes) -> bool:
        given = {**self._where(name), "Body": content, "IfNoneMatch": "*"}
        return _ask(self._client.put_object, given, _EXISTS) is not None

    def get(self, name: str) -> bytes | None:
        said = _ask(self._client.get_object, self._where(name), _MISSING)
        return None if said is None else _ask(said["Body"].read, {})

    def size(self, name: str) -> int | None:
        said = _ask(self._client.head_object, self._where(name), _MISSING)
        return None if said is None else int(said["ContentLength"])

    def ids(self, owner: str, file: str) -> list[str]:
        names = (key.split("/")[-2:] for key, _ in self._listed(f"{self._prefix}{owner}/"))
        return sorted(id_ for id_, name in names if name == file)

    def count(self, owner: str) -> int:
        return len(self.created(owner))

    def created(self, owner: str) -> list[float]:
        first: dict[str, float] = {}
        for key, modified in self._listed(f"{self._prefix}{owner}/"):
            folder = key.rpartition("/")[0]
            first[folder] = min(modified, first.get(folder, modified))
        return [*first.values()]

    def remove(self, folder: str) -> None:
        name = f"{self._prefix}{folder}"
        for key, _ in self._listed(name):
            if key == name or key.startswith(f"{name}/"):
                self._delete(key)

    def sweep(self, before: float) -> None:
        for key, modified in self._listed(self._prefix):
            if modified < before:
                self._delete(key)

    def address(
        self, method: Literal["GET", "PUT"], name: str, seconds: int, content_type: str = ""
    ) -> str | None:
        where = self._where(name)
        if method == "GET":
            where["ResponseContentType"] = content_type
        action = {"GET": "get_object", "PUT": "put_object"}[method]
        given = {"ClientMethod": action, "Params": where, "ExpiresIn": seconds}
        return str(_ask(self._client.generate_presigned_url, given))

    def _where(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{name}"}

    def _listed(self, prefix: str) -> Iterator[tuple[str, float]]:
        given = {"Bucket": self._bucket, "Prefix": prefix}
        while given:
            page = _ask(self._client.list_objects_v2, given)
            for one in page.get("Contents", ()):
                if _OURS.fullmatch(one["Key"].removeprefix(self._prefix)):
                    yield one["Key"], one["LastModified"].timestamp()
            token = page.get("NextContinuationToken")
            given = {**given, "ContinuationToken": token} if token else {}

    def _delete(self, key: str) -> None:
        _ask(self._client.delete_object, {"Bucket": self._bucket, "Key": key})


class SqsQueue:
    """A queue of SQS, of the standard kind."""

    def __init__(self, url: str, lease: int) -> None:
        """`lease` is in seconds."""
        self._url = url
        self._lease = lease
        self._client: Any = boto3.client("sqs", config=_CONFIG)

    def send(self, folder: str, task: Task) -> None:
        self._ask("send_message", MessageBody=json.dumps({"folder": folder, "task": task}))

    def receive(self, task: Task, most: int) -> Sequence[Message]:
        if task == "tell":  # SQS cannot choose: they come with the others
            return ()
        said = self._ask(
            "receive_message",
            MaxNumberOfMessages=min(most, _MOST_AT_ONCE),
            VisibilityTimeout=self._lease,
            WaitTimeSeconds=_WAIT,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [_message(one) for one in said.get("Messages", ())]

    def extend(self, messages: Sequence[Message]) -> None:
        for one in messages:
            self.release(one, self._lease)

    def release(self, message: Message, delay: float) -> None:
        seconds = min(_LONGEST_DELAY, int(delay))
        given = {"ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
        self._ask("change_message_visibility", **given)

    def put_off(self, message: Message, delay: float) -> None:
        body = json.dumps({"folder": message.folder, "task": message.task})
        self._ask("send_message", MessageBody=body, DelaySeconds=min(900, int(delay)))
        self.done(message)

    def forget(self, folder: str) -> None:
        """Do nothing: they are dropped when they come."""

    def done(self, message: Message) -> None:
        self._ask("delete_message", ReceiptHandle=message.receipt)

    def waiting(self) -> int:
        name = "ApproximateNumberOfMessages"
        said = self._ask("get_queue_attributes", AttributeNames=[name])
        return int(said["Attributes"][name])

    def _ask(self, action: str, **given: Any) -> Any:
        return _ask(getattr(self._client, action), {"QueueUrl": self._url, **given})


def _message(said: dict[str, Any]) -> Message:
    body = json.loads(said["Body"])
    tries = int(said["Attributes"]["ApproximateReceiveCount"])
    return Message(body["folder"], body["task"], tries, said["ReceiptHandle"])


def _ask(
    action: Callable[..., Any], given: Mapping[str, Any], expected: Collection[str] = ()
) -> Any:
    """Return what AWS says, None for an error with an `expected` code. Raises GatewayError."""
    try:
        return action(**given)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in expected:
            return None
        raise refusal("job-storage", reason=code, retry_after=5) from error
    except BotoCoreError as error:
        raise refusal("job-storage", reason=type(error).__name__, retry_after=5) from error
