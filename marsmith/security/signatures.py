"""Signatures of archives, made with a private key and verified with its public key.

They are OpenSSF model signatures in Sigstore's bundle format, made offline. Each is beside its
archive and covers that one file; model-signing's own command verifies it as well.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from marsmith.archive.reader import Archive
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ArchiveError, MarsmithError, SigningError
from marsmith.core.findings import Finding
from marsmith.security.signing_keys import fingerprint, unlock

_SIGN = "sign it: marsmith sign {} --key KEY"
_ITSELF = "."  # model-signing's name for a model that is a single file


def signature_file(archive: Path) -> Path:
    """Return where an archive's signature is: `digits.mar.sig` beside `digits.mar`."""
    return archive.with_name(f"{archive.name}.sig")


def sign(
    archive: Path, private_key: Path, password: Callable[[], str | None] = lambda: None
) -> Path:
    """Sign an archive, and return the file of the signature; an older one is replaced.

    `password` is called if the key is encrypted. Raises SigningError if the key cannot be used or
    nothing can be written, ArchiveError if the archive is a folder or missing.
    """
    from model_signing import hashing, signing

    path = _real_file(archive)
    Archive(path)  # one that readers would read differently is not signed
    opened = unlock(private_key, password)
    configuration = signing.Config().use_elliptic_key_signer(
        private_key=private_key,
        password=opened,  # type: ignore[arg-type]  # it says str and passes it on as bytes
    )
    only_itself = hashing.Config().set_ignored_paths(paths=(), ignore_git_paths=False)
    target = signature_file(archive)
    try:
        with tempfile.TemporaryDirectory(prefix="marsmith-sign-") as folder:
            written = Path(folder) / target.name
            configuration.set_hashing_config(only_itself).sign(path, written)
            with replacing(target) as file:
                file.write(written.read_bytes())
    except OSError as error:
        raise SigningError(
            f"{archive} cannot be signed: {error.strerror} ({error.filename})",
            "correct the permissions, or make room",
            code="file-error",
        ) from error
    return target


def verify(archive: Path, public_key: Path, shown: Path | None = None) -> str:
    """Verify an archive's signature; return the fingerprint of the key that signed it.

    Messages name the path `shown`, if it is another one.
    Raises SigningError if it is unsigned, altered, or signed by another key, and if the signature
    is damaged; ArchiveError if the archive is a folder or missing.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    path, known = _real_file(archive), fingerprint(public_key)
    signature, shown = signature_file(archive), shown or archive
    _require_kind(shown, signature, known)
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    try:
        verifier.verify(path, signature)
    except OSError as error:
        raise SigningError(
            f"{shown} cannot be verified: {error.strerror} ({error.filename})",
            "correct the permissions",
            code="file-error",
        ) from error
    except (InvalidSignature, ValueError, TypeError, LookupError, AttributeError) as error:
        if str(error).startswith("Signature mismatch"):
            raise SigningError(
                f"{shown} was changed after it was signed",
                "get the archive and its .sig from the signer again; sign your own again",
                code="altered",
            ) from error
        raise _damaged(shown, signature) from error
    Archive(path)  # one that readers would read differently is refused
    return known


def signature_problems(archives: Iterable[Archive], public_key: Path) -> list[Finding]:
    """Return why the owner of a key did not sign some of these archives. Raises SigningError."""
    fingerprint(public_key)
    found = []
    for archive in archives:
        try:
            require_signature(archive, public_key)
        except MarsmithError as error:
            found.append(Finding(error.message, error.hint, rule=error.code))
    return found


def require_signature(archive: Archive, public_key: Path) -> str:
    """Verify the signature of a model's archive; return the fingerprint of its key.

    Raises SigningError as `verify` does. A signature does not cover the name of the file, so
    `b.mar` could be put in the place of `a.mar`. So the archive's name must be its manifest's.
    """
    known = verify(archive.path, public_key, archive.shown)
    if archive.manifest.model_name != archive.name:
        raise SigningError(
            f"{archive.shown} is signed, but as the archive {archive.manifest.model_name!r}",
            "give the file the name that it was built with",
            code="signed-name",
        )
    return known


def _real_file(archive: Path) -> Path:
    """Return an archive's file without links, which model-signing refuses."""
    if archive.is_dir():
        raise ArchiveError(
            f"{archive} is a folder, and only files can be signed",
            "sign and verify the .mar; it has the same content",
            code="folder",
        )
    if not archive.exists():
        raise ArchiveError(
            f"there is no archive {archive}",
            f"build it: marsmith build {archive.stem}",
            code="no-archive",
        )
    return archive.resolve()


def _require_kind(archive: Path, signature: Path, known: str) -> None:
    """Raise SigningError unless a signature is of one file and names this key; unverified."""
    try:
        hint, covered = _outline(json.loads(signature.read_bytes()))
    except FileNotFoundError as error:
        raise SigningError(
            f"{archive} is not signed: there is no {signature_file(archive).name} beside it",
            _SIGN.format(archive),
            code="unsigned",
        ) from error
    except OSError as error:
        raise SigningError(
            f"{signature} cannot be read: {error.strerror}",
            "correct its permissions",
            code="file-error",
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _damaged(archive, signature) from error
    if hint != known:
        raise SigningError(
            f"{archive} is signed by another key ({hint[:16]}…, not {known[:16]}…)",
            "verify with the public key of its signer",
            code="other-key",
        )
    # A signature of a folder of which all files are ignored would be valid for any file.
    if covered != [_ITSELF]:
        raise SigningError(
            f"{signature} is not a signature of a single file",
            _SIGN.format(archive),
            code="bad-signature",
        )


def claimed_key(signature: Path) -> str | None:
    """Return the fingerprint of the key that a signature names, if it can be read; unverified."""
    try:
        return _outline(json.loads(signature.read_bytes()))[0]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _outline(bundle: Any) -> tuple[str, list[str]]:
    """Return the key that a signature names, and the names of what it covers."""
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    covered = [resource["name"] for resource in payload["predicate"]["resources"]]
    hint = bundle["verificationMaterial"]["publicKey"]["hint"]
    return bytes.fromhex(hint).hex(), covered


def _damaged(archive: Path, signature: Path) -> SigningError:
    return SigningError(
        f"{signature} is damaged, or not a signature of {archive.name}",
        f"get it from the signer again, or {_SIGN.format(archive)}",
        code="bad-signature",
    )
