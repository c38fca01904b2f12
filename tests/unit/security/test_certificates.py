"""TLS certificates and who trusts them, with a TLS server in a thread."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from marsmith.client.trust import trusting
from marsmith.core.errors import CertificateError
from marsmith.security.certificates import keystore_certificate, require_usable, still_good
from marsmith.security.self_signed import new_certificate

Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return new_certificate(tmp_path_factory.mktemp("tls") / "server", ["models.example"])


def connect(files: Files, context: ssl.SSLContext, name: str) -> str | None:
    """Connect to a server with this certificate; return the TLS version both agreed on."""
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(files[1], files[0])

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                served.wrap_socket(connection, server_side=True).close()
            except (ssl.SSLError, OSError):
                return  # refused by the other side: what the test is about

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname()) as plain,
                context.wrap_socket(plain, server_hostname=name) as encrypted,
            ):
                return encrypted.version()
        finally:
            thread.join()


def test_the_key_is_its_owners_alone(files: Files) -> None:
    key, certificate = files
    assert [path.name for path in files] == ["server.key", "server.pem"]
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in certificate.read_bytes()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "models.example"])
def test_who_trusts_a_certificate_reaches_its_server(files: Files, name: str) -> None:
    assert (connect(files, trusting(files[1]), name) or "").startswith("TLSv1.")


def test_a_server_of_another_name_is_not_trusted(files: Files) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(files, trusting(files[1]), "other.example")


def test_another_certificate_is_not_trusted(files: Files, tmp_path: Path) -> None:
    _, other = new_certificate(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(files, trusting(other), "localhost")


def test_a_servers_own_certificate_is_enough_without_who_signed_it(tmp_path: Path) -> None:
    authority = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key, certificate = new_certificate(tmp_path / "server")
    own = x509.load_pem_x509_certificate(certificate.read_bytes())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority")])
    signed = x509.CertificateBuilder(
        name,
        own.subject,
        own.public_key(),
        own.serial_number,
        own.not_valid_before_utc,
        own.not_valid_after_utc,
        list(own.extensions),
    ).sign(authority, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    assert (connect((key, certificate), trusting(certificate), "localhost") or "").startswith("TLS")


def test_a_good_pair_is_usable(files: Files) -> None:
    require_usable(*files, ["127.0.0.1", "models.example"])
    assert still_good(*files, ["127.0.0.1"])


def test_a_certificate_that_ends_within_days_is_not_good_any_more(tmp_path: Path) -> None:
    files = new_certificate(tmp_path / "short", days=6)
    require_usable(*files, ["localhost"])
    assert not still_good(*files, ["localhost"])


def refused(key: Path, certificate: Path, host: str = "localhost") -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        require_usable(key, certificate, [host])
    assert "BEGIN" not in caught.value.message
    return caught.value


def test_a_key_that_others_may_read_is_refused(files: Files, tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    key.write_bytes(files[0].read_bytes())
    key.chmod(0o640)
    assert refused(key, files[1]).code == "readable-by-others"
    assert refused(key, files[1]).hint == f"chmod 600 {key}"


def test_a_key_of_another_pair_is_refused(files: Files, tmp_path: Path) -> None:
    key, _ = new_certificate(tmp_path / "other")
    assert refused(key, files[1]).code == "not-a-pair"


def test_a_key_that_torchserve_cannot_read_is_refused(files: Files, tmp_path: Path) -> None:
    from marsmith.security.signing_keys import new_key_pair

    key, _ = new_key_pair(tmp_path / "elliptic")
    assert refused(key, files[1]).code == "not-rsa"


def test_a_missing_name_is_named(files: Files) -> None:
    error = refused(*files, host="192.0.2.1")
    assert error.code == "other-host"
    assert error.hint.endswith("--host 192.0.2.1")


@pytest.mark.parametrize("number", [0, 1])
def test_files_that_are_missing_or_something_else_are_refused(
    files: Files, tmp_path: Path, number: int
) -> None:
    given = list(files)
    given[number] = tmp_path / "nothing"
    assert refused(given[0], given[1]).code == "unreadable"
    given[number].write_text("hello")
    given[number].chmod(0o600)
    assert refused(given[0], given[1]).code == ("bad-tls-key", "bad-certificate")[number]


@pytest.mark.parametrize(("host", "good"), [("a.example", True), ("a.b.example", False)])
def test_a_wildcard_stands_for_one_label(tmp_path: Path, host: str, good: bool) -> None:
    assert still_good(*new_certificate(tmp_path / "all", ["*.example"]), [host]) is good


def test_a_keystore_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    keystore = tmp_path / "server.p12"
    keystore.write_bytes(b"no keystore")
    keystore.chmod(0o644)
    for code in ("readable-by-others", "bad-keystore"):
        with pytest.raises(CertificateError) as caught:
            keystore_certificate(keystore, "open sesame", ["localhost"])
        assert caught.value.code == code
        assert "sesame" not in caught.value.message + caught.value.hint
        keystore.chmod(0o600)


def test_an_ended_certificate_is_refused(tmp_path: Path) -> None:
    files = new_certificate(tmp_path / "old", days=0)
    assert refused(*files).code == "expired"


def test_a_place_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CertificateError) as caught:
        new_certificate(tmp_path / "file" / "server")
    assert "--out" in caught.value.hint
