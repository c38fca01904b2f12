"""Why a request is not let in; no IO."""

from __future__ import annotations

from marsmith.gateway.refusals import GatewayError


def key_missing() -> GatewayError:
    """A request without a key, where one is needed."""
    return GatewayError(
        "this request needs a key",
        "send the header `Authorization: Bearer KEY`; make one: marsmith gateway key add",
        code="key-missing",
        status=401,
    )


def key_unknown() -> GatewayError:
    """A key that there is not, or no more."""
    return GatewayError(
        "this key is unknown, or was revoked",
        "send the whole key as it was printed; see marsmith gateway key list",
        code="key-unknown",
        status=401,
    )


def key_expired(name: str) -> GatewayError:
    """A key whose time is over."""
    return GatewayError(
        f"the key {name} has expired",
        "make a new one: marsmith gateway key add",
        code="key-expired",
        status=401,
    )


def keys_unreadable(reason: str) -> GatewayError:
    """The file of keys is damaged: nobody knows which keys are revoked."""
    return GatewayError(
        reason, "see marsmith gateway key list", code="keys-unreadable", status=503, retry_after=5
    )


def not_allowed(name: str, scope: str) -> GatewayError:
    """A key without the scope for what it asks."""
    return GatewayError(
        f"the key {name} may not do this: it needs the scope {scope}",
        f"make a key that may: marsmith gateway key add NAME --scope {scope}",
        code="key-scope",
        status=403,
    )


def too_many(name: str, limit: str, retry_after: int) -> GatewayError:
    """A key that has used up a limit of its own."""
    return GatewayError(
        f"the key {name} has reached its limit of {limit}",
        f"try again in {retry_after} s, or send less at once",
        code="key-limit",
        status=429,
        retry_after=retry_after,
    )


def host_unknown(host: str) -> GatewayError:
    """A Host header that names another machine: DNS rebinding, or a missing --allow-host."""
    return GatewayError(
        f"this gateway is not known as {host!r}",
        "use its own address, or start it with --allow-host NAME",
        code="host-unknown",
        status=421,
    )


def origin_refused(origin: str) -> GatewayError:
    """A page of another site wants to change something, or to ask a model."""
    return GatewayError(
        f"pages of {origin!r} may send nothing here",
        "start the gateway with --cors-origin ORIGIN to let them",
        code="origin-refused",
        status=403,
    )


def not_through_proxy() -> GatewayError:
    """An unencrypted request from elsewhere than the proxies, which alone encrypt."""
    return GatewayError(
        "this gateway answers its proxies alone",
        "send the request to the proxy, or start the gateway with --tls",
        code="not-through-proxy",
        status=403,
    )


def bad_request(what: str) -> GatewayError:
    """A request that two programs could read in two ways, or none at all."""
    return GatewayError(what, "correct the request", code="bad-request", status=400)


def body_too_large(limit: int) -> GatewayError:
    """A body larger than max_request_size."""
    return GatewayError(
        f"the request's body is larger than {limit} bytes",
        "send less, or raise max_request_size in config.properties",
        code="body-too-large",
        status=413,
    )


def head_too_large(limit: int) -> GatewayError:
    """A request line and headers that are too long, or too many headers."""
    return GatewayError(
        f"the request's headers are larger than {limit} bytes, or too many",
        "send fewer or shorter headers",
        code="head-too-large",
        status=431,
    )


def too_slow() -> GatewayError:
    """A request that arrives too slowly."""
    return GatewayError(
        "the request did not arrive in time", "send it faster", code="too-slow", status=408
    )


def too_many_connections(limit: int) -> GatewayError:
    """More connections than this process can hold."""
    return GatewayError(
        f"{limit} connections are open already",
        "try again later",
        code="too-many-connections",
        status=503,
        retry_after=1,
    )
