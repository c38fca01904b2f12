"""Signatures of archives: who holds the public key can tell what its owner signed.

They are OpenSSF model signatures in Sigstore's bundle format, made offline with a key. They lie
beside their archive and cover that one file; model-signing's own command verifies them as well.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from marsmith.archive.reader import Archive
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ArchiveError, MarsmithError, SigningError
from marsmith.core.findings import Finding, FindingsError
from marsmith.security.signing_keys import fingerprint, unlock

_SIGN = "sign it: marsmith sign {} --key KEY"
_ITSELF = "."  # how model-signing names a model that is a single file


def signature_file(archive: Path) -> Path:
    """Return where an archive's signature is: `digits.mar.sig` beside `digits.mar`."""
    return archive.with_name(f"{archive.name}.sig")


def sign(
    archive: Path, private_key: Path, password: Callable[[], str | None] = lambda: None
) -> Path:
    """Sign an archive, and return the file of the signature; an older one is replaced.

    `password` is asked if the key is encrypted. Raises SigningError if the key cannot be used or
    nothing can be written, ArchiveError if the archive is a folder or missing.
    """
    from model_signing import hashing, signing

    path = _real_file(archive)
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
        message = f"{archive} cannot be signed: {error.strerror} ({error.filename})"
        raise SigningError(message, "mend the permissions, or make room") from error
    return target


def verify(archive: Path, public_key: Path) -> str:
    """Return the fingerprint of the key that signed an archive, once that is proven.

    Raises SigningError if it is unsigned, altered, or signed by another key, and if the signature
    is damaged; ArchiveError if the archive is a folder or missing.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    path, known = _real_file(archive), fingerprint(public_key)
    signature = signature_file(archive)
    _require_kind(archive, signature, known)
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    try:
        verifier.verify(path, signature)
    except OSError as error:
        message = f"{archive} cannot be verified: {error.strerror} ({error.filename})"
        raise SigningError(message, "mend the permissions") from error
    except (InvalidSignature, ValueError, TypeError, LookupError, AttributeError) as error:
        if str(error).startswith("Signature mismatch"):
            hint = "get both anew from whoever signed it; if it was built anew, sign it again"
            raise SigningError(f"{archive} is not what was signed", hint) from error
        raise _damaged(archive, signature) from error
    return known


def require_signatures(
    archives: Iterable[Path], public_key: Path, names: Mapping[Path, str] | None = None
) -> None:
    """Raise FindingsError with all those among archives that the key's owner did not sign.

    A signature does not cover the name of the file, so that `b.mar` could be put in the place of
    `a.mar`; here it must be the name that the archive has for itself. `names` has those of models
    whose files are called otherwise.
    """
    fingerprint(public_key)
    found = []
    for path in archives:
        try:
            require_signature(path, (names or {}).get(path), public_key)
        except MarsmithError as error:
            found.append(Finding(error.message, error.hint))
    if found:
        raise FindingsError(found)


def require_signature(path: Path, name: str | None, public_key: Path) -> str:
    """Return the fingerprint of the key that signed an archive of a model, once that is proven.

    Raises SigningError as `verify` does, and if the archive has another name for itself. No name:
    that of the file.
    """
    known = verify(path, public_key)
    _require_name(path, name or Archive(path).name)
    return known


def _require_name(path: Path, name: str) -> None:
    archive = Archive(path)
    if archive.manifest.model_name != name:
        message = f"{path} is signed, but as the archive {archive.manifest.model_name!r}"
        raise SigningError(message, "give the file the name that it was built with")


def _real_file(archive: Path) -> Path:
    """Return an archive's file without links, which model-signing refuses."""
    if archive.is_dir():
        hint = "sign and verify the .mar; it has the same content"
        raise ArchiveError(f"{archive} is a folder, and signatures are of files", hint)
    if not archive.exists():
        raise ArchiveError(
            f"there is no archive {archive}", f"build it: marsmith build {archive.stem}"
        )
    return archive.resolve()


def _require_kind(archive: Path, signature: Path, known: str) -> None:
    """Raise SigningError unless a signature is of one file and names this key; proves nothing."""
    try:
        hint, covered = _outline(json.loads(signature.read_bytes()))
    except FileNotFoundError as error:
        message = f"{archive} is not signed: there is no {signature.name} beside it"
        raise SigningError(message, _SIGN.format(archive)) from error
    except OSError as error:
        message = f"{signature} cannot be read: {error.strerror}"
        raise SigningError(message, "mend its permissions") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _damaged(archive, signature) from error
    if hint != known:
        message = f"{archive} is signed by another key ({hint[:16]}…, not {known[:16]}…)"
        raise SigningError(message, "verify with the public key of whoever signed it")
    # One of a folder that ignores all of it would hold for any file.
    if covered != [_ITSELF]:
        message = f"{signature} is no signature of a single file"
        raise SigningError(message, _SIGN.format(archive))


def claimed_key(signature: Path) -> str | None:
    """Return the fingerprint of the key that a signature names, if it can be read; unproven."""
    try:
        return _outline(json.loads(signature.read_bytes()))[0]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _outline(bundle: Any) -> tuple[str, list[str]]:
    """Return which key a signature says it is by, and the names of what it covers."""
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    covered = [resource["name"] for resource in payload["predicate"]["resources"]]
    hint = bundle["verificationMaterial"]["publicKey"]["hint"]
    return bytes.fromhex(hint).hex(), covered


def _damaged(archive: Path, signature: Path) -> SigningError:
    hint = f"get it anew from whoever made it, or {_SIGN.format(archive)}"
    return SigningError(f"{signature} is damaged, or no signature of {archive.name}", hint)
