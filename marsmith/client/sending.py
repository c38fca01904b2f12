"""One HTTP call: its token, its tries, its deadline, and what a connection raises as our own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from marsmith.answers.messages import Response
from marsmith.client.http1 import (
    LostError,
    NotConnectedError,
    NotHttpError,
    place_of,
    request_head,
)
from marsmith.client.retries import (
    MOST_DEATHS,
    RETRIED_STATUSES,
    WORKER_DIED,
    Deadline,
    Retries,
    persistently,
)
from marsmith.client.tokens import REFUSAL, Api, TokenSource, bearer
from marsmith.client.transport import Transport, Wait
from marsmith.client.trust import not_trusted, trusting
from marsmith.client.workers_up import NoWorkerUpError, WorkerCheck
from marsmith.core.errors import ClientError, DeadlineError, UnreachableError

_ROTATIONS = 2  # that one call can meet: the second while a slow one was under way
_AGENT = {"User-Agent": "marsmith"}


@dataclass(frozen=True)
class Call:
    """One request. `repeatable`: carrying it out twice does no harm."""

    api: Api
    method: str
    url: str  # of the server, without the path
    path: str
    repeatable: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    with_token: bool = True


class Sender:
    """Sends calls, from as many threads as there are."""

    def __init__(
        self, timeout: float, retries: Retries, tokens: TokenSource, certificate: Path | None
    ) -> None:
        """`timeout` is in seconds, for each read and write; ClientError if it is not above 0."""
        if not timeout > 0:
            raise ClientError(
                f"a timeout of {timeout} s is too short", "use more than 0 s", code="bad-argument"
            )
        self.timeout = timeout
        self._retries = retries
        self._tokens = tokens
        self._transport = Transport(trusting(certificate))

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def authorization(self, api: Api) -> dict[str, str]:
        """Return the header with an API's token, if it needs one."""
        return _authorization(self._tokens.token(api))

    def send(self, call: Call, deadline: Deadline, check: WorkerCheck | None = None) -> Response:
        """Return the answer, whatever its status. Raises ClientError if there is none.

        If `check` finds no worker that is up, the answer is a 503 made here.
        """
        deaths = 0

        def retry_after(outcome: Response | ClientError) -> float | None:
            nonlocal deaths
            if isinstance(outcome, UnreachableError):
                return 0.0 if call.repeatable or not outcome.sent else None
            if isinstance(outcome, ClientError) or not call.repeatable:
                return None
            deaths += _worker_died(outcome)
            refused = outcome.status in RETRIED_STATUSES
            again = refused or (_worker_died(outcome) and deaths < MOST_DEATHS)
            return _retry_after(outcome) if again else None

        try:
            if check is not None:
                check.before_sending(deadline.left)
            return persistently(
                lambda: self.send_once(call, deadline, check), retry_after, self._retries, deadline
            )
        except NoWorkerUpError as error:
            return error.response

    def send_once(
        self, call: Call, deadline: Deadline, check: WorkerCheck | None = None
    ) -> Response:
        """Return the answer of one try. Raises ClientError, or what `check` raises."""
        if not call.with_token:
            return self._once(call, {}, deadline, check)
        token = self._tokens.token(call.api, deadline.left)
        for _ in range(_ROTATIONS):
            answer = self._once(call, _authorization(token), deadline, check)
            # A refused call was not carried out, so repeating it is always safe.
            if not refuses_token(answer):
                return answer
            if not (new := self._tokens.renewed(call.api, token, deadline.left)):
                return answer
            token = new
        return self._once(call, _authorization(token), deadline, check)

    def _once(
        self, call: Call, token: Mapping[str, str], deadline: Deadline, check: WorkerCheck | None
    ) -> Response:
        if self._transport.is_closed:
            raise ClientError("the client is closed", "make another one", code="closed-client")
        if check is not None:
            check.begin()
        with _own_errors(call, deadline):
            place = place_of(call.url)
            headers = {**_AGENT, **call.headers, **token}
            head = request_head(call.method, place, call.path, headers, len(call.content))
            wait = Wait(self.timeout, deadline, check)
            return self._transport.send(place, head + call.content, wait)


@contextmanager
def _own_errors(call: Call, deadline: Deadline) -> Iterator[None]:
    where = call.url + call.path.partition("?")[0]
    try:
        yield
    except TimeoutError as error:
        late = f"within {deadline.seconds:g} s" if deadline.left <= 0 else "in time"
        raise DeadlineError(
            f"{where} did not answer {late}",
            "see the server's logs (marsmith logs), or allow more time: timeout, deadline",
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise not_trusted(call.url) from error
    except (NotConnectedError, LostError) as error:
        raise UnreachableError(
            f"nothing answers at {call.url}: {error}",
            "start a server: marsmith serve; or name its port: --port N",
            sent=isinstance(error, LostError),
        ) from error
    except NotHttpError as error:
        raise ClientError(
            f"the answer of {where} is not HTTP: {error}",
            "name the server's inference port: --port N",
            code="not-torchserve",
        ) from error
    except ValueError as error:  # a header that HTTP cannot hold
        raise ClientError(
            f"the request to {where} cannot be sent: {error}",
            "correct the arguments",
            code="bad-argument",
        ) from error


def _authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": bearer(token)}


def refuses_token(answer: Response) -> bool:
    """Say whether TorchServe, or a proxy before it, refused the token."""
    return answer.status == 401 or (answer.status == 400 and REFUSAL in answer.body[:1000])


def _worker_died(answer: Response) -> bool:
    return answer.status == 500 and WORKER_DIED.encode() in answer.body[:1000]


def _retry_after(answer: Response) -> float:
    """Return Retry-After in seconds; it holds seconds or a date (RFC 9110, 10.2.3)."""
    said = answer.headers.get("retry-after", "").strip()
    if said.isdecimal():
        return float(said)
    with suppress(ValueError, TypeError):
        date = parsedate_to_datetime(said)
        date = date.replace(tzinfo=date.tzinfo or timezone.utc)
        return max((date - datetime.now(timezone.utc)).total_seconds(), 0.0)
    return 0.0


def server_url(url: str, what: str) -> str:
    """Return an address without a slash at its end. Raises ClientError for an invalid one."""
    with suppress(ValueError):
        if urlsplit(url).username is not None:  # not shown: a password may be in it
            raise ClientError(
                f"the {what} has a user's name in it",
                "remove it, and pass a token",
                code="bad-address",
            )
        place_of(url)
        return url.rstrip("/")
    raise ClientError(
        f"{url!r} is not an {what}", "write it as http://127.0.0.1:8080", code="bad-address"
    )
