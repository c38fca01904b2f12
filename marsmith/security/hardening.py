"""A server's configuration with safe settings: tokens, TLS, model API, workflows."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError
from marsmith.core.findings import Finding
from marsmith.project.project import Project
from marsmith.security.certificates import keystore_certificate, require_usable, still_good
from marsmith.security.exposure_rules import guarded
from marsmith.security.self_signed import new_certificate
from marsmith.torchserve.ports import own_addresses
from marsmith.torchserve.properties import CONFIG_FILE, Address, addresses

_FILES = ("private_key_file", "certificate_file", "keystore", "metrics_config")


@dataclass(frozen=True)
class Guard:
    """What TorchServe starts with, the certificate to trust, and warnings for the user."""

    properties: dict[str, str]
    certificate: Path | None
    warnings: tuple[Finding, ...]


def guard(project: Project, values: dict[str, str], *, secure: bool, tls: bool) -> Guard:
    """Make a configuration safe: with `secure`, requests need tokens; with `tls`, encryption.

    If config.properties names no certificate for `tls`, a self-signed one is made in
    `.marsmith/tls`. Raises ProjectError for what cannot be made safe, CertificateError for files
    that TorchServe could not serve with.
    """
    values = with_whole_paths(project, values)
    if (named := values.get("metrics_config")) and not Path(named).is_file():
        raise ProjectError(  # TorchServe would go on without any metric
            f"{CONFIG_FILE} names a missing metrics_config: {named}",
            "correct its path, or remove the line: Marsmith has one of its own",
            code="no-metrics-config",
        )
    if tls:
        values |= with_tls(project, values)
    closed = guarded(values, secure=secure)
    return Guard(closed.properties, certificate_of(project, closed.properties), closed.warnings)


def with_whole_paths(project: Project, values: dict[str, str]) -> dict[str, str]:
    """Make paths absolute: a server runs in a folder of its own."""
    return values | {key: str(project.root / values[key]) for key in _FILES if values.get(key)}


def development_certificate(project: Project, hosts: list[str]) -> tuple[Path, Path]:
    """Return the key and the certificate in `.marsmith/tls`, new ones if the old expire soon."""
    prefix = project.state_folder("tls") / "development"
    files = prefix.with_suffix(".key"), prefix.with_suffix(".pem")
    return files if still_good(*files, hosts) else new_certificate(prefix, hosts)


def with_tls(project: Project, values: dict[str, str]) -> dict[str, str]:
    """Return what encrypts all addresses, with a development certificate if none is named."""
    places = addresses(values)
    changed = {place.key: _with_tls_url(place) for place in places if place.scheme != "grpc"} | {
        "enable_grpc_ssl": "true"
    }
    if not values.get("certificate_file") and not values.get("keystore"):
        key, certificate = development_certificate(project, _own_names(places))
        changed |= {"private_key_file": str(key), "certificate_file": str(certificate)}
    return changed


def _with_tls_url(place: Address) -> str:
    """Return an address's URL with TLS."""
    return place.url.replace("http:", "https:", 1)


def certificate_of(
    project: Project, values: dict[str, str], folder: Path | None = None
) -> Path | None:
    """Return the certificate that clients must trust; None without TLS.

    That of a keystore is written into `folder`, by default the project's `.marsmith/tls`.

    Raises ProjectError if config.properties names none, CertificateError if it cannot be used.
    """
    places = addresses(values)
    grpc = values.get("enable_grpc_ssl", "").strip().lower() == "true"
    encrypted = [place for place in places if place.scheme == "https"]
    encrypted += [place for place in places if place.scheme == "grpc" and grpc]
    if not encrypted:
        return None
    if keystore := values.get("keystore"):
        if grpc:
            raise ProjectError(
                f"{CONFIG_FILE} names a keystore, which TorchServe's gRPC cannot use",
                "name private_key_file and certificate_file instead, for all ports",
                code="keystore-with-grpc",
            )
        found = _of_keystore(project.root / keystore, values, _hosts(encrypted))
        path = (folder or project.state_folder("tls")) / "keystore.pem"
        with replacing(path) as file:
            file.write(found)
        return path
    key, certificate = values.get("private_key_file"), values.get("certificate_file")
    if not key or not certificate:
        raise ProjectError(
            f"{CONFIG_FILE} has https addresses without private_key_file and certificate_file",
            "name both, or have them made: --tls",
            code="no-certificate",
        )
    require_usable(project.root / key, project.root / certificate, _hosts(encrypted))
    return project.root / certificate


def _of_keystore(keystore: Path, values: dict[str, str], hosts: list[str]) -> bytes:
    """Return the certificate of a keystore, in PEM."""
    kind = values.get("keystore_type", "PKCS12")
    if kind.upper() != "PKCS12":
        raise ProjectError(
            f"{CONFIG_FILE}: the certificate of a keystore of type {kind} cannot be read",
            "convert it to PKCS12 (keytool -importkeystore), or name PEM files",
            code="keystore-type",
        )
    # TorchServe's default password (ConfigManager.java).
    return keystore_certificate(keystore, values.get("keystore_pass", "changeit"), hosts)


def _hosts(places: list[Address] | tuple[Address, ...]) -> list[str]:
    """Return the names by which this machine reaches the server."""
    return sorted({"127.0.0.1" if place.host == "0.0.0.0" else place.host for place in places})  # noqa: S104


def _own_names(places: tuple[Address, ...]) -> list[str]:
    """Return the names by which others reach the server, too, if they may."""
    found = set(_hosts(places))
    if not all(place.is_loopback for place in places):
        found |= {socket.gethostname(), *own_addresses()}
    return sorted(found)
