"""Attacks on the centre through a site's connection; README.md has the map."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mos_client.store.home import SiteHome
from mos_protocol import AdmissionLimits, Bundle, Reason, SigningKey
from mos_protocol.encoding.canonical import parse, serialise
from mos_protocol.manifest_pb2 import BundleManifest
from mos_protocol.signed.envelope import BUNDLE_TYPE, open_envelope, seal
from mos_server.federation.desk import Desk
from tests.protocol.simulator import rewritten
from tests.support.concepts import random_concept
from tests.support.sites import small_inventory
from tests.threats.stage import Stage, reason_of

LAYER = "text_encoder.encoder.layers.0.self_attn.q_proj"
WORD = "embeddings.text_encoder.00"
DAY = 24 * 3600


def signed(stage: Stage, payload: bytes | None = None, **changes: object) -> Bundle:
    """What north would honestly sign next, or one with changes."""
    created = stage.first.verified(stage.north_key.public).created
    arguments: dict[str, object] = {
        "site": "north",
        "counter": 9,
        "key": stage.north_key,
        "created": created,
        "expires": created + DAY,
    }
    content = payload or random_concept(stage.inventory, "rex", seed=5).to_bytes()
    return Bundle.sign(content, **(arguments | changes))  # type: ignore[arg-type]


def poisoned(stage: Stage, name: str, values: np.ndarray) -> bytes:
    honest = random_concept(stage.inventory, "rex", seed=5).to_bytes()
    return signed(stage, rewritten(honest, {name: values})).to_bytes()


def test_arbitrary_bundle(stage: Stage) -> None:
    told = stage.send(np.random.default_rng(0).bytes(4096))
    assert reason_of(told) is Reason.MALFORMED


def test_wrong_base(stage: Stage) -> None:
    other = random_concept(small_inventory("ef" * 32), "rex").to_bytes()
    told = stage.send(signed(stage, other).to_bytes())
    assert reason_of(told) is Reason.WRONG_BASE
    assert "efefefefefef" in told.at_the_site
    assert stage.inventory.base[:12] in told.at_the_site


def test_unknown_signer(stage: Stage) -> None:
    stranger = SigningKey.generate()
    told = stage.send(signed(stage, key=stranger).to_bytes())
    assert reason_of(told) is Reason.UNKNOWN_SIGNER
    assert stranger.public.short in told.at_the_site


def test_unknown_signer_under_a_known_key_id(stage: Stage) -> None:
    stranger = SigningKey.generate()
    forged = signed(stage, key=stranger)
    envelope = forged.envelope.replace(
        stranger.public.key_id.encode(), stage.north_key.public.key_id.encode()
    )
    told = stage.send(Bundle(envelope, forged.payload).to_bytes())
    assert reason_of(told) is Reason.BAD_SIGNATURE


def test_another_sites_name(stage: Stage) -> None:
    told = stage.send(signed(stage, site="south").to_bytes())
    assert reason_of(told) is Reason.UNKNOWN_SIGNER
    assert "'south'" in told.at_the_site


def test_revoked_signer(stage: Stage) -> None:
    stage.centre.registry.membership.revoke("north")
    told = stage.send(signed(stage).to_bytes(), by="south")
    assert reason_of(told) is Reason.REVOKED_SIGNER


def test_replay(stage: Stage) -> None:
    told = stage.send(stage.second.to_bytes())
    assert reason_of(told) is Reason.REPLAYED


def test_replay_by_another_site(stage: Stage) -> None:
    told = stage.send(stage.second.to_bytes(), by="south")
    assert reason_of(told) is Reason.REPLAYED


def test_rollback(stage: Stage) -> None:
    told = stage.send(stage.first.to_bytes())
    assert reason_of(told) is Reason.ROLLED_BACK


def test_freeze(stage: Stage) -> None:
    told = stage.send(signed(stage, created=1, expires=DAY).to_bytes())
    assert reason_of(told) is Reason.EXPIRED


def test_mix_and_match(stage: Stage) -> None:
    one, other = signed(stage), stage.second
    told = stage.send(Bundle(one.envelope, other.payload).to_bytes())
    assert reason_of(told) is Reason.TAMPERED


def test_endless_data(stage: Stage) -> None:
    told = stage.send(bytes(AdmissionLimits().max_bundle_bytes + 1))
    assert reason_of(told) is Reason.TOO_LARGE


def test_tampered_tensor(stage: Stage) -> None:
    honest = signed(stage)
    values = np.full((2, 6), 0.5, "<f4")
    changed = rewritten(honest.payload, {WORD: values})
    assert len(changed) == len(honest.payload)
    told = stage.send(Bundle(honest.envelope, changed).to_bytes())
    assert reason_of(told) is Reason.TAMPERED


def test_fast_forward(stage: Stage) -> None:
    told = stage.send(signed(stage, counter=2**40).to_bytes())
    assert reason_of(told) is Reason.FAST_FORWARD


def test_poison_that_is_no_number(stage: Stage) -> None:
    told = stage.send(poisoned(stage, WORD, np.full((2, 6), np.nan, "<f4")))
    assert reason_of(told) is Reason.NOT_FINITE
    assert WORD in told.at_the_site


def test_poison_of_huge_norm(stage: Stage) -> None:
    layer = stage.inventory.projections[LAYER]
    honest = random_concept(stage.inventory, "rex", seed=5).to_bytes()
    payload = rewritten(
        honest,
        {
            f"{LAYER}.lora_A.weight": 6 * np.eye(4, layer[1], dtype="<f4"),
            f"{LAYER}.lora_B.weight": 6 * np.eye(layer[0], 4, dtype="<f4"),
        },
    )
    told = stage.send(signed(stage, payload).to_bytes())
    assert reason_of(told) is Reason.OUT_OF_BOUNDS
    assert "times the norm" in told.at_the_site


def test_poison_of_huge_spectral_norm(stage: Stage) -> None:
    layer = stage.inventory.projections[LAYER]
    honest = random_concept(stage.inventory, "rex", seed=5).to_bytes()
    down, up = np.zeros((4, layer[1]), "<f4"), np.zeros((layer[0], 4), "<f4")
    down[0, 0] = up[0, 0] = 6.0
    tensors = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    limits = AdmissionLimits(max_update_gain=1e6)
    stage.use(Desk(stage.centre.registry, stage.inventory, limits))
    told = stage.send(signed(stage, rewritten(honest, tensors)).to_bytes())
    assert reason_of(told) is Reason.OUT_OF_BOUNDS
    assert "stretches" in told.at_the_site


WORDS = {
    "another site's placeholder": "<north/rex>",
    "rich markup": "[/nope]",
    "Markdown": "cat|dog",
    "HTML": "<b>cat",
    "marks without end": "cat" + "\u0301" * 40,
    "a control": "cat\u202edog",
    "nothing": "",
    "much": "a" * 65,
}


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_class_word_that_is_markup(stage: Stage, word: str) -> None:
    honest = signed(stage)
    manifest = parse(BundleManifest, honest.sealed().payload, "a manifest")
    manifest.class_word = word
    envelope = seal(serialise(manifest), BUNDLE_TYPE, stage.north_key)
    told = stage.send(Bundle(envelope, honest.payload).to_bytes())
    assert reason_of(told) is Reason.MALFORMED
    assert "class word" in told.at_the_site


def test_covert_channel_of_blanks(stage: Stage) -> None:
    """A mebibyte of blanks and tabs in the header says what a site may not say."""
    honest = signed(stage)
    length = int.from_bytes(honest.payload[:8], "little")
    header = honest.payload[8 : 8 + length] + b" \t" * 2**19
    payload = len(header).to_bytes(8, "little") + header + honest.payload[8 + length :]
    manifest = parse(BundleManifest, honest.sealed().payload, "a manifest")
    manifest.payload_sha256 = hashlib.sha256(payload).digest()
    manifest.payload_bytes = len(payload)
    envelope = seal(serialise(manifest), BUNDLE_TYPE, stage.north_key)
    told = stage.send(Bundle(envelope, payload).to_bytes())
    assert reason_of(told) is Reason.MALFORMED
    assert "one canonical form" in told.at_the_site


def test_release_shown_as_a_bundle(stage: Stage) -> None:
    shown = stage.release("rex", key=stage.north_key)
    told = stage.send(shown.to_bytes())
    assert reason_of(told) is Reason.WRONG_KIND
    told_again = stage.send(Bundle(shown.envelope, shown.payload).to_bytes())
    assert reason_of(told_again) is Reason.WRONG_KIND


def test_manifest_that_unfolds_to_other_tensors(stage: Stage) -> None:
    honest = signed(stage)
    manifest = open_envelope(honest.envelope).payload
    again = seal(manifest + manifest, BUNDLE_TYPE, stage.north_key)
    told = stage.send(Bundle(again, honest.payload).to_bytes())
    assert reason_of(told) is Reason.MALFORMED


def test_attacks_leave_no_trace_but_the_record(stage: Stage, tmp_path: Path) -> None:
    """After an attack the honest bundle of the same site is admitted as before."""
    stage.send(stage.second.to_bytes())
    bundle = stage.put(SiteHome.open(tmp_path / "north"), "luna")
    stage.talk()
    stored = stage.centre.registry.bundles.current()
    assert [one.concept for one in stored] == ["bolt", "luna", "rex"]
    assert stage.centre.registry.bundles.has(bundle.digest)
