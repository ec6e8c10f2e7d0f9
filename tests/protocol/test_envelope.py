"""The envelope and the keys: what a signature covers, and who can have made it."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mos_protocol import (
    MalformedError,
    SignatureError,
    SigningKey,
    VerifyKey,
    load_key,
    open_envelope,
    save_key,
    seal,
)
from mos_protocol.encoding.canonical import serialise
from mos_protocol.manifest_pb2 import Envelope
from mos_runtime.errors import MosError
from tests.protocol.simulator import CENTRE_KEY, SITE_KEY

KIND = "http://example.com/HelloWorld"


def test_signature_covers_the_encoding_of_the_dsse_specification() -> None:
    sealed = open_envelope(seal(b"hello world", KIND, SITE_KEY))
    SITE_KEY.public.verify(
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world", sealed.signature
    )


def test_sealed_payload_comes_back() -> None:
    sealed = open_envelope(seal(b"hello", KIND, SITE_KEY))
    assert sealed.verify(SITE_KEY.public, KIND) == b"hello"


def test_sealing_twice_gives_the_same_bytes() -> None:
    assert seal(b"hello", KIND, SITE_KEY) == seal(b"hello", KIND, SITE_KEY)


def test_another_key_is_refused() -> None:
    sealed = open_envelope(seal(b"hello", KIND, SITE_KEY))
    with pytest.raises(SignatureError, match=SITE_KEY.public.short):
        sealed.verify(CENTRE_KEY.public, KIND)


def test_another_kind_is_refused() -> None:
    sealed = open_envelope(seal(b"hello", KIND, SITE_KEY))
    with pytest.raises(SignatureError, match="signed as"):
        sealed.verify(SITE_KEY.public, "text/plain")


def test_bytes_moved_between_kind_and_payload_are_refused() -> None:
    sealed = open_envelope(seal(b"hello", KIND, SITE_KEY))
    moved = Envelope(
        payload_type=KIND + " ",
        payload=b"ello",
        key_id=sealed.key_id,
        signature=sealed.signature,
    )
    with pytest.raises(SignatureError):
        open_envelope(serialise(moved)).verify(SITE_KEY.public, KIND + " ")


def test_unknown_field_beside_the_signature_is_refused() -> None:
    content = seal(b"hello", KIND, SITE_KEY)
    with pytest.raises(MalformedError, match="canonical"):
        open_envelope(content + b"\x32\x04more")


def test_second_payload_in_one_envelope_is_refused() -> None:
    content = seal(b"hello", KIND, SITE_KEY)
    other = serialise(Envelope(payload=b"other"))
    with pytest.raises(MalformedError, match="canonical"):
        open_envelope(content + other)


def test_envelope_beyond_any_size_is_refused_unparsed() -> None:
    with pytest.raises(MalformedError, match="at most"):
        open_envelope(seal(bytes(5 * 2**20), KIND, SITE_KEY))


def test_signature_of_another_length_is_refused() -> None:
    sealed = open_envelope(seal(b"hello", KIND, SITE_KEY))
    cut = Envelope(
        payload_type=KIND,
        payload=b"hello",
        key_id=sealed.key_id,
        signature=sealed.signature[:-1],
    )
    with pytest.raises(MalformedError, match="64 bytes"):
        open_envelope(serialise(cut))


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"not an envelope", bytes(5 * 2**20)]
)
def test_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedError):
        open_envelope(content)


def test_key_survives_its_file(tmp_path: Path) -> None:
    key = SigningKey.generate()
    path = tmp_path / "keys" / "site.key"
    save_key(path, key)
    assert load_key(path).public == key.public
    assert load_key(path).sign(b"x") == key.sign(b"x")


def test_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    save_key(tmp_path / "site.key", SITE_KEY)
    assert (tmp_path / "site.key").stat().st_mode & 0o777 == 0o600


def test_private_key_is_not_shown() -> None:
    private = SITE_KEY.private.private_bytes_raw()
    assert private.hex() not in repr(SITE_KEY)
    assert repr(private) not in repr(SITE_KEY)


def test_key_id_is_the_digest_of_the_public_key() -> None:
    # SHA-256 of RFC 8032's first test vector.
    raw = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    key = VerifyKey.from_raw(bytes.fromhex(raw))
    assert key.key_id.startswith("21fe31dfa154a261626bf854046fd227")
    assert key.short == key.key_id[:12]


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33)])
def test_key_of_another_length_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError, match="32 bytes"):
        VerifyKey.from_raw(raw)


def test_missing_or_wrong_key_file_ends_in_one_line(tmp_path: Path) -> None:
    elliptic = generate_private_key(SECP384R1())
    plain = (Encoding.PEM, PrivateFormat.PKCS8)
    files = {
        "empty": b"",
        "text": b"no key",
        "kind": elliptic.private_bytes(*plain, NoEncryption()),
        "locked": SITE_KEY.private.private_bytes(
            *plain, BestAvailableEncryption(b"pass")
        ),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in ("missing", *files):
        with pytest.raises(MosError, match=name) as error:
            load_key(tmp_path / name)
        assert "\n" not in str(error.value)


def test_endorsements_are_refused_where_they_are_not_signed_for() -> None:
    content = seal(b"hello", KIND, SITE_KEY, endorsements=[b"more"])
    with pytest.raises(MalformedError, match="endorsements"):
        open_envelope(content)
    assert open_envelope(content, endorsed=True).endorsements == (b"more",)
