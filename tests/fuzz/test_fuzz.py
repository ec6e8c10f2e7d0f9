"""Mutated bundles and releases: each is refused by its rules, or is an honest one.

Twenty thousand of them in the slow suite, a share in the fast one, always the same by
seed. Whatever is let in must be, byte for byte, what the holder of the key would have
signed honestly for that payload; everything else ends in the one typed refusal. An
input that ever broke this lies in `found/`, and is tried at every run.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mos_protocol import (
    AdmissionError,
    Bundle,
    HeldRelease,
    KnownSite,
    Reason,
    Release,
    ReleaseError,
)
from mos_protocol.encoding.header import read_header
from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES
from tests.fuzz.mutations import (
    SIGNED,
    UNSIGNED,
    Mutation,
    Target,
    resigned,
    with_header,
)
from tests.protocol.simulator import (
    CENTRE_KEY,
    NOW,
    SITE_KEY,
    STRANGER_KEY,
    Centre,
    Site,
    bundle,
    concept,
    fused,
    release,
    released,
)

FOUND = Path(__file__).parent / "found"
SHARE, WHOLE = 1_000, 10_000
"""Mutants of bundles, and as many of releases."""

MAX_GROWTH_BYTES = 64 * 2**20

FIRST = release()
BUNDLES = Target(
    bundle(counter=6),
    bundle(concept("bolt").to_bytes(), counter=7),
    SITE_KEY,
    STRANGER_KEY,
)
RELEASES = Target(
    release(version=9, previous=FIRST.digest),
    release(
        fused("rex", "bolt"),
        version=10,
        previous=FIRST.digest,
        concepts=[released("rex"), released("bolt")],
    ),
    CENTRE_KEY,
    STRANGER_KEY,
)


def judged_by_the_centre(content: bytes) -> Reason | None:
    """The reason of a refusal, by a centre that holds bundle 4; None if admitted."""
    known = KnownSite("north", SITE_KEY.public, False, 4)
    centre = Centre(sites={SITE_KEY.public.key_id: known})
    before = centre.state()
    try:
        centre.receive(content)
    except AdmissionError as refusal:
        assert centre.state() == before
        assert_one_plain_line(str(refusal))
        return refusal.reason
    return None


def judged_by_a_site(content: bytes) -> Reason | None:
    """The reason of a refusal, by a site that holds release 8; None if taken up."""
    site = Site(held=HeldRelease(8, FIRST.digest))
    before = site.held
    try:
        site.take(content)
    except ReleaseError as refusal:
        assert site.held == before
        assert_one_plain_line(str(refusal))
        return refusal.reason
    return None


def assert_one_plain_line(text: str) -> None:
    """What is told can be shown on any terminal."""
    assert text.isprintable(), repr(text)
    assert 0 < len(text) < 600


def is_honest_bundle(content: bytes) -> bool:
    """Whether the site itself would have signed exactly these bytes."""
    found = Bundle.from_bytes(content)
    facts = found.verified(SITE_KEY.public)
    again = Bundle.sign(
        found.payload,
        site="north",
        counter=facts.counter,
        key=SITE_KEY,
        created=facts.created,
        expires=facts.expires,
    )
    in_time = facts.created <= NOW + 600 and facts.expires > NOW
    return again == found and in_time and 4 < facts.counter <= 1004


def is_honest_release(content: bytes) -> bool:
    """Whether the centre itself would have signed exactly these bytes."""
    found = Release.from_bytes(content)
    facts = found.verified(CENTRE_KEY.public)
    again = Release.sign(
        found.payload,
        version=facts.version,
        previous=facts.previous_sha256,
        concepts=facts.concepts,
        key=CENTRE_KEY,
        created=facts.created,
        expires=facts.expires,
    )
    in_time = facts.created <= NOW + 600 and facts.expires > NOW
    return again == found and in_time and facts.version >= 8


def has_only_numbers(payload: bytes) -> bool:
    start = min(span.begin for span in read_header(payload).spans)
    return bool(np.isfinite(np.frombuffer(payload[start:], "<f4")).all())


Judge = Callable[[bytes], Reason | None]


def attack(
    seed: int, count: int, target: Target[Any], judge: Judge, honest: Callable[..., Any]
) -> dict[str, int]:
    """Try mutants; how often each reason came, and "let in" for the honest ones."""
    told: dict[str, int] = {}
    source = random.Random(seed)
    untouched = {target.honest.to_bytes(), target.other.to_bytes()}
    process, memory = psutil.Process(), 0
    for number in range(count):
        unsigned = number % 3 == 0
        mutation: Mutation = source.choice(UNSIGNED if unsigned else SIGNED)
        content = mutation(source, target)
        if content in untouched:
            continue
        try:
            reason = judge(content)
            if reason is None:
                assert not unsigned, "let in, though nobody signed it anew"
                assert honest(content), "let in, though nobody would have signed it"
                assert has_only_numbers(type(target.honest).from_bytes(content).payload)
        except BaseException:
            kept = FOUND / f"{mutation.__name__}-{seed}-{number}.bin"
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(content)
            raise
        told[str(reason or "let in")] = told.get(str(reason or "let in"), 0) + 1
        if number == count // 10:
            memory = process.memory_info().rss
    assert process.memory_info().rss - memory < MAX_GROWTH_BYTES
    return told


def test_mutated_bundles_are_refused() -> None:
    told = attack(1, SHARE, BUNDLES, judged_by_the_centre, is_honest_bundle)
    assert len(told) >= 9, told


def test_mutated_releases_are_refused() -> None:
    told = attack(2, SHARE, RELEASES, judged_by_a_site, is_honest_release)
    assert len(told) >= 9, told


@pytest.mark.slow
def test_ten_thousand_mutated_bundles_are_refused() -> None:
    told = attack(3, WHOLE, BUNDLES, judged_by_the_centre, is_honest_bundle)
    assert set(told) >= {str(r) for r in Reason if r not in UNREACHED_BY_BUNDLES}, told


@pytest.mark.slow
def test_ten_thousand_mutated_releases_are_refused() -> None:
    told = attack(4, WHOLE, RELEASES, judged_by_a_site, is_honest_release)
    assert set(told) >= {str(r) for r in Reason if r not in UNREACHED_BY_RELEASES}, told


OF_OTHER_PLACES = {
    *(Reason.MISDIRECTED, Reason.OVER_QUOTA),
    *(Reason.UNFUSABLE, Reason.QUARANTINED, Reason.REJECTED),
}
"""Of calls, of the registry's books, of fusion: no judge of a file's content."""

UNREACHED_BY_BUNDLES = {Reason.TOO_LARGE, Reason.REVOKED_SIGNER} | OF_OTHER_PLACES
UNREACHED_BY_RELEASES = {
    *(Reason.TOO_LARGE, Reason.REVOKED_SIGNER, Reason.REPLAYED),
    Reason.OUT_OF_BOUNDS,
} | OF_OTHER_PLACES


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.bin")), ids=lambda p: p.stem)
def test_what_once_broke_the_rules_is_refused(path: Path) -> None:
    content = path.read_bytes()
    judge = judged_by_the_centre if content[:4] == b"MOSB" else judged_by_a_site
    assert judge(content) is not None


def unfolding() -> dict[str, bytes]:
    """The largest envelopes and headers, all of them things that take much room."""
    room = MAX_ENVELOPE_BYTES - 2000
    payload, manifest = BUNDLES.honest.payload, BUNDLES.manifest
    raw = manifest.SerializeToString(deterministic=True)
    entry = b"\x6a\x00"  # an empty message in the field `tensors`
    entries = BUNDLES.sealed(raw + entry * (room // 2 - len(raw)), payload, SITE_KEY)
    manifest.tensors[-1].shape.extend([1] * (room - len(raw)))
    raw = manifest.SerializeToString(deterministic=True)
    shape = BUNDLES.sealed(raw, payload, SITE_KEY)
    text = payload[8 : 8 + int.from_bytes(payload[:8], "little")]
    many = b'"shape":[' + b",".join([b"[]"] * (room // 3 - len(text)))
    text = text.replace(b'"shape":[', many + b",", 1)
    lists = resigned(BUNDLES, with_header(payload, text))
    return {"entries": entries, "shape": shape, "lists": lists}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
@pytest.mark.parametrize("what", ["entries", "shape", "lists"])
def test_small_data_that_unfolds_in_memory_stays_bounded(what: str) -> None:
    content = unfolding()[what]
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before = _peak_bytes()
    assert judged_by_the_centre(content) in (Reason.MALFORMED, Reason.WRONG_INVENTORY)
    assert _peak_bytes() - before < 64 * MAX_ENVELOPE_BYTES


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(one.split()[1]) for one in lines if one.startswith("VmHWM")) * 1024
