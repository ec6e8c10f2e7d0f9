"""Manifests and headers that were signed as they are, and mean nothing."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from mos_protocol import MalformedError
from mos_protocol.encoding.canonical import parse, serialise
from mos_protocol.encoding.header import Header
from mos_protocol.manifest_pb2 import BundleManifest, ReleaseManifest
from mos_protocol.signed.blob import BUNDLE_MAGIC, split
from mos_protocol.signed.bundle import bundle_facts, concept_header
from mos_protocol.signed.release import fused_header, release_facts
from tests.protocol.simulator import BASE, bundle, fused, release, released


def bundle_manifest() -> BundleManifest:
    return parse(BundleManifest, bundle().sealed().payload, "a manifest")


def release_manifest() -> ReleaseManifest:
    two = release(fused("rex", "bolt"), concepts=[released("rex"), released("bolt")])
    return parse(ReleaseManifest, two.sealed().payload, "a manifest")


def twice(repeated: Any) -> None:
    repeated.append(repeated[0])


def turned(repeated: Any) -> None:
    kept = list(repeated)[::-1]
    del repeated[:]
    repeated.extend(kept)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: twice(m.tensors), "ascend"),
        (lambda m: turned(m.tensors), "ascend"),
        (lambda m: setattr(m.tensors[0], "dtype", "I64"), "dtype 'I64'"),
        (lambda m: setattr(m.tensors[0], "sha256", bytes(31)), "32 bytes, not 31"),
        (lambda m: setattr(m.tensors[0], "name", "x" * 257), "printable"),
        (lambda m: setattr(m, "payload_sha256", b""), "payload: a SHA-256"),
        (lambda m: setattr(m, "base", "mini"), "base 'mini'"),
        (lambda m: setattr(m, "concept", "../rex"), "concept name"),
        (lambda m: setattr(m, "rank", 0), "begin at 1"),
        (lambda m: setattr(m, "counter", 0), "begin at 1"),
        (lambda m: setattr(m, "schema", 0), "schema 0"),
    ],
)
def test_bundles_manifest_without_meaning_is_refused(
    change: Callable[[BundleManifest], None], match: str
) -> None:
    manifest = bundle_manifest()
    bundle_facts(serialise(manifest))
    change(manifest)
    with pytest.raises(MalformedError, match=match):
        bundle_facts(serialise(manifest))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: twice(m.concepts), "concepts do not ascend"),
        (lambda m: turned(m.concepts), "concepts do not ascend"),
        (lambda m: twice(m.tensors), "tensors do not ascend"),
        (lambda m: setattr(m.concepts[0], "signer", "north"), "signer 'north'"),
        (lambda m: setattr(m.concepts[0], "bundle_sha256", b""), "bundle: a SHA-256"),
        (lambda m: setattr(m.concepts[0], "site", ""), "site name"),
        (lambda m: setattr(m.concepts[0], "class_word", "\x1b"), "class word"),
        (lambda m: setattr(m, "version", 0), "version 1"),
    ],
)
def test_releases_manifest_without_meaning_is_refused(
    change: Callable[[ReleaseManifest], None], match: str
) -> None:
    manifest = release_manifest()
    release_facts(serialise(manifest))
    change(manifest)
    with pytest.raises(MalformedError, match=match):
        release_facts(serialise(manifest))


REX = {"name": "rex", "site": "north", "class_word": "cat"}
FUSED: dict[str, Any] = {"format": "mos-fused/1", "base": BASE, "concepts": [REX]}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "mos-concept/1"}, "not a fused model"),
        ({"format": None}, "not a fused model"),
        ({"pictures": "x"}, "has format, base and concepts"),
        ({"base": 1}, "no proper base"),
        ({"concepts": {}}, "no proper base or concepts"),
        ({"concepts": ["rex"]}, "name, site and class_word"),
        ({"concepts": [{"name": "rex", "site": "north"}]}, "name, site and class_word"),
        ({"concepts": [REX | {"caption": "x"}]}, "name, site and class_word"),
        ({"concepts": [REX | {"site": 1}]}, "not text"),
    ],
)
def test_fused_models_header_without_meaning_is_refused(
    change: dict[str, Any], match: str
) -> None:
    assert fused_header(Header(FUSED, ())) == (BASE, [("north", "rex", "cat")])
    with pytest.raises(MalformedError, match=match):
        fused_header(Header(FUSED | change, ()))


def test_fused_model_is_no_concept() -> None:
    with pytest.raises(MalformedError, match="not a concept"):
        concept_header(Header(FUSED, ()))


@pytest.mark.parametrize("claimed", [6, 2**23, 2**32 - 1])
def test_blob_whose_envelope_claims_more_than_there_is_is_refused(claimed: int) -> None:
    content = BUNDLE_MAGIC + struct.pack("<I", claimed) + b"12345"
    with pytest.raises(MalformedError, match=f"claims {claimed} bytes"):
        split(content, BUNDLE_MAGIC, what="a bundle", max_bytes=100)
