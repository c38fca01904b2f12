"""Why a request is not let in; no IO."""

from __future__ import annotations

from marsmith.gateway.refusals import GatewayError

_ADD = "make one: marsmith gateway key add NAME --scope {scope}"
# Code → status, message, hint.
_REFUSALS = {
    "key-missing": (401, "this request needs a key", "send `Authorization: Bearer KEY`; " + _ADD),
    "key-unknown": (
        401,
        "this key is unknown, or was revoked",
        "send the whole key as it was printed; see marsmith gateway key list",
    ),
    "key-expired": (401, "the key {name} has expired", _ADD),
    "keys-unreadable": (503, "the gateway cannot read its keys", "see marsmith gateway key list"),
    "key-scope": (403, "the key {name} may not do this", _ADD),
    "key-limit": (429, "the key {name} has reached its limit of {limit}", "{cure}"),
    "host-unknown": (
        421,
        "this gateway is not known as {host!r}",
        "use its own address, or start it with --allow-host NAME",
    ),
    "origin-refused": (
        403,
        "pages of {origin!r} may send nothing here",
        "start the gateway with --cors-origin ORIGIN to let them",
    ),
    "not-through-proxy": (
        403,
        "this gateway answers its proxies alone",
        "send the request to the proxy, or start the gateway with --tls",
    ),
    "bad-request": (400, "{what}", "correct the request"),
    "body-too-large": (
        413,
        "the request's body is larger than {limit} bytes",
        "send less, or raise max_request_size in config.properties",
    ),
    "head-too-large": (431, "the request's headers are too large, or too many", "send fewer"),
    "too-slow": (408, "the request did not arrive in time", "send it faster"),
    "too-many-connections": (503, "{limit} connections are open already", "try again later"),
}


def refusal(code: str, *, retry_after: int | None = None, **values: object) -> GatewayError:
    """Return an error of the table, with `values` in its message and hint."""
    status, message, hint = _REFUSALS[code]
    told = message.format(**values), hint.format(**values)
    return GatewayError(*told, code=code, status=status, retry_after=retry_after)
