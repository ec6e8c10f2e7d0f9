"""How the centre changes its key without visiting every site.

The old key signs an endorsement of the new one, and every later release carries all
endorsements there ever were. A site that trusts any of the earlier keys follows them,
one by one, to the key that signed the release, and from then on trusts that one alone:
what an older key signs is refused. A site may so miss any number of releases.
"""

from collections.abc import Sequence

from mos_protocol.encoding.canonical import SCHEMA, parse, serialise, sha256
from mos_protocol.errors import SignatureError
from mos_protocol.manifest_pb2 import Endorsement
from mos_protocol.signed.envelope import ENDORSEMENT_TYPE, open_envelope, seal
from mos_protocol.signed.keys import SigningKey, VerifyKey


def endorse(new_key: VerifyKey, *, key: SigningKey, created: int) -> bytes:
    """The envelope by which `key` names `new_key` as the one that follows it.

    Args:
        new_key: Signs releases from now on.
        key: Has signed them so far.
        created: Now, Unix time in seconds.
    """
    message = Endorsement(schema=SCHEMA, new_key=new_key.raw, created=created)
    return seal(serialise(message), ENDORSEMENT_TYPE, key)


def endorsed_key(envelope: bytes, key: VerifyKey) -> VerifyKey:
    """The key that `key` named as the next.

    Raises:
        SignatureError: `key` did not sign this as an endorsement.
        MalformedError: it did, but it names no key.
    """
    content = open_envelope(envelope).verify(key, ENDORSEMENT_TYPE)
    return VerifyKey.from_raw(parse(Endorsement, content, "an endorsement").new_key)


def successor(trusted: VerifyKey, signer: str, chain: Sequence[bytes]) -> VerifyKey:
    """The key of id `signer`, as far as `trusted` leads to it.

    Args:
        trusted: The key that is trusted so far.
        signer: Key id of whoever signed a release.
        chain: The release's endorsements, oldest first.

    Raises:
        SignatureError: neither `trusted` nor a key that follows from it has that id.
        MalformedError: something in the chain is no endorsement.
    """
    key = trusted
    for envelope in chain:
        if key.key_id == signer:
            break
        if open_envelope(envelope).key_id == key.key_id:
            key = endorsed_key(envelope, key)
    if key.key_id != signer:
        raise SignatureError(
            f"signed by key {signer[:12]}; the centre's is {trusted.short}, and no "
            "endorsement leads from it to the other"
        )
    return key


def chain_digest(chain: Sequence[bytes]) -> str:
    """What a release's manifest says of its endorsements; "" where there are none."""
    if not chain:
        return ""
    return sha256(b"".join(bytes.fromhex(sha256(envelope)) for envelope in chain))
