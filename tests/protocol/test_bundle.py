"""Laws of bundles and releases, and the two files that each of them lies in."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mos_model.concepts.concept import Concept
from mos_protocol import (
    Bundle,
    MalformedError,
    Release,
    SignatureError,
    read_table,
    signature_path,
)
from mos_runtime.errors import StorageError
from tests.protocol.simulator import (
    BASE,
    CENTRE_KEY,
    NOW,
    SITE_KEY,
    WEEK,
    bundle,
    concept,
    fused,
    release,
    released,
    rewritten,
)


def test_blob_comes_back_as_the_same_bundle() -> None:
    sent = bundle()
    assert Bundle.from_bytes(sent.to_bytes(), max_bytes=10**6) == sent


def test_blob_comes_back_as_the_same_release() -> None:
    sent = release()
    assert Release.from_bytes(sent.to_bytes(), max_bytes=10**6) == sent


def test_signing_twice_gives_the_same_bytes() -> None:
    assert bundle().to_bytes() == bundle().to_bytes()
    assert release().to_bytes() == release().to_bytes()


def test_manifest_says_what_the_concept_says() -> None:
    payload = concept("bolt", licence="CC-BY-4.0").to_bytes()
    facts = bundle(payload, counter=7).verified(SITE_KEY.public)
    assert (facts.site, facts.concept, facts.class_word) == ("north", "bolt", "cat")
    assert (facts.licence, facts.base, facts.rank) == ("CC-BY-4.0", BASE, 2)
    assert (facts.counter, facts.created, facts.expires) == (7, NOW - 60, NOW + WEEK)
    assert facts.payload_bytes == len(payload)
    assert facts.tensors == read_table(payload)


def test_release_names_its_concepts_in_order() -> None:
    sent = release(fused("rex", "bolt"), concepts=[released("rex"), released("bolt")])
    facts = sent.verified(CENTRE_KEY.public)
    assert facts.concepts == (released("bolt"), released("rex"))
    assert facts.tensors == read_table(sent.payload)


def test_digest_is_of_what_was_signed() -> None:
    assert bundle().digest == bundle().digest
    assert bundle().digest != bundle(counter=2).digest
    assert bundle().digest == Bundle(bundle().envelope, b"other").digest


def test_bundle_is_no_release() -> None:
    with pytest.raises(SignatureError, match="signed as"):
        Release(bundle().envelope, b"").verified(SITE_KEY.public)
    with pytest.raises(MalformedError):
        Release.from_bytes(bundle().to_bytes(), max_bytes=10**6)


def test_blob_larger_than_allowed_is_refused() -> None:
    content = bundle().to_bytes()
    with pytest.raises(MalformedError, match="at most"):
        Bundle.from_bytes(content, max_bytes=len(content) - 1)


def test_files_come_back_as_the_same_bundle(tmp_path: Path) -> None:
    path = tmp_path / "outbox" / "rex.safetensors"
    sent = bundle()
    sent.write(path)
    assert Bundle.read(path) == sent
    assert sorted(found.name for found in path.parent.iterdir()) == [
        "rex.safetensors",
        "rex.safetensors.sig",
    ]


def test_payload_on_disk_is_a_plain_concept(tmp_path: Path) -> None:
    bundle().write(tmp_path / "rex.safetensors")
    content = (tmp_path / "rex.safetensors").read_bytes()
    assert Concept.from_bytes(content).facts == concept().facts


def test_files_come_back_as_the_same_release(tmp_path: Path) -> None:
    release().write(tmp_path / "0001.safetensors")
    assert Release.read(tmp_path / "0001.safetensors") == release()


def test_missing_signature_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rex.safetensors"
    bundle().write(path)
    signature_path(path).unlink()
    with pytest.raises(StorageError, match=r"rex\.safetensors\.sig: no such file"):
        Bundle.read(path)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"site": "North Pole"}, "site name"),
        ({"site": ""}, "site name"),
        ({"counter": 0}, "begin at 1"),
        ({"counter": -1}, "no manifest"),
        ({"counter": 2**64}, "no manifest"),
        ({"expires": 2**63}, "no manifest"),
    ],
)
def test_bundle_that_none_would_admit_is_not_signed(
    changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(MalformedError, match=match):
        bundle(**changes)


@pytest.mark.parametrize("payload", [b"", b"no", fused("rex")])
def test_what_is_no_concept_is_not_signed(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        bundle(payload)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"caption": "my house"}, "caption"),
        ({"alpha": 8}, "contradicts itself"),
        ({"trigger": "<bolt>"}, "contradicts itself"),
        ({"rank": "2", "alpha": "2"}, "rank"),
        ({"licence": None}, "licence"),
        ({"base": "mini"}, "base"),
    ],
)
def test_header_that_says_more_or_otherwise_is_not_signed(
    said: dict[str, object], match: str
) -> None:
    with pytest.raises(MalformedError, match=match):
        bundle(rewritten(concept().to_bytes(), {}, said=said))


def test_rewriting_nothing_keeps_the_file() -> None:
    assert read_table(rewritten(fused("rex"), {})) == read_table(fused("rex"))


def test_torch_is_not_imported() -> None:
    program = "import sys, mos_protocol; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
