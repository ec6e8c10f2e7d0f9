"""A bundle or a release on a disk, compared with its signature once more.

The signature is verified first, then every digest. This says that the files are what
the key's holder signed; whether they may be admitted or taken up now (expiry, counter,
base) is for `admission` and `trust`.
"""

from mos_protocol.errors import MalformedError
from mos_protocol.rules.agreement import Refused, check_payload
from mos_protocol.signed.bundle import Bundle, BundleFacts
from mos_protocol.signed.keys import VerifyKey
from mos_protocol.signed.release import Release, ReleaseFacts


def bundle_as_signed(bundle: Bundle, key: VerifyKey) -> BundleFacts:
    """The facts of a bundle whose every byte is what `key` signed.

    Raises:
        SignatureError: `key` did not sign this as a bundle.
        MalformedError: the manifest is none, or the payload is another one.
    """
    facts = bundle.verified(key)
    _compare(bundle.payload, facts)
    return facts


def release_as_signed(release: Release, key: VerifyKey) -> ReleaseFacts:
    """The facts of a release whose every byte is what `key` signed.

    Raises:
        SignatureError: `key` did not sign this as a release.
        MalformedError: the manifest is none, or the payload is another one.
    """
    facts = release.verified(key)
    _compare(release.payload, facts)
    return facts


def _compare(payload: bytes, facts: BundleFacts | ReleaseFacts) -> None:
    try:
        check_payload(
            payload,
            payload_sha256=facts.payload_sha256,
            payload_bytes=facts.payload_bytes,
            tensors=facts.tensors,
        )
    except Refused as refused:
        raise MalformedError(f"{refused.reason}: {refused}") from refused
