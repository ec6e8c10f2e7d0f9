"""Attacks on a site through what is delivered to it; README.md has the map."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from mos_client.store.releases import ReleaseStore
from mos_model.concepts.applying import as_fused
from mos_protocol import Reason, Release, ReleaseLimits, ReleaseTrust, SigningKey
from mos_protocol.encoding.canonical import parse, serialise
from mos_protocol.manifest_pb2 import ReleaseManifest
from mos_protocol.signed.envelope import RELEASE_TYPE, seal
from mos_server.registry.home import CentreHome
from tests.protocol.simulator import rewritten
from tests.support.concepts import random_concept
from tests.support.sites import small_inventory
from tests.threats.stage import Stage, reason_of

WORD = "concepts.north/rex.text_encoder.00"


def test_arbitrary_release(stage: Stage) -> None:
    told = stage.deliver(np.random.default_rng(0).bytes(4096))
    assert reason_of(told) is Reason.MALFORMED


def test_forged_release(stage: Stage) -> None:
    told = stage.deliver(stage.release("rex", key=SigningKey.generate()).to_bytes())
    assert reason_of(told) is Reason.UNKNOWN_SIGNER


def test_forged_release_by_an_admitted_site(stage: Stage) -> None:
    forged = stage.release("rex", key=stage.north_key)
    told = stage.deliver(forged.to_bytes())
    assert reason_of(told) is Reason.UNKNOWN_SIGNER


def test_forged_release_in_the_centres_name(stage: Stage) -> None:
    stranger = SigningKey.generate()
    forged = stage.release("rex", key=stranger)
    centre = stage.centre.home.signing_key().public.key_id
    envelope = forged.envelope.replace(stranger.public.key_id.encode(), centre.encode())
    told = stage.deliver(Release(envelope, forged.payload).to_bytes())
    assert reason_of(told) is Reason.BAD_SIGNATURE


def test_release_from_another_centre(stage: Stage, tmp_path: Path) -> None:
    other = CentreHome.open(tmp_path / "other", create=True).signing_key()
    told = stage.deliver(stage.release("rex", key=other).to_bytes())
    assert reason_of(told) is Reason.UNKNOWN_SIGNER
    assert stage.centre.home.signing_key().public.short in told.at_the_site


def test_wrong_base(stage: Stage) -> None:
    made = random_concept(small_inventory("ef" * 32), "rex")
    payload = as_fused(made, site="north").to_bytes()
    told = stage.deliver(stage.release("rex", payload=payload).to_bytes())
    assert reason_of(told) is Reason.WRONG_BASE


def test_rollback(stage: Stage) -> None:
    first = stage.centre.registry.published.read(1)
    stage.publish("rex")
    stage.talk()
    told = stage.deliver(first.to_bytes())
    assert reason_of(told) is Reason.ROLLED_BACK


def test_freeze(stage: Stage) -> None:
    told = stage.deliver(stage.release("rex", created=1, expires=99).to_bytes())
    assert reason_of(told) is Reason.EXPIRED


def test_mix_and_match_of_two_chains(stage: Stage) -> None:
    other = stage.release("rex", version=2, previous="ee" * 32)
    told = stage.deliver(other.to_bytes())
    assert reason_of(told) is Reason.MIX_AND_MATCH


def test_mix_and_match_of_two_releases_of_one_version(stage: Stage) -> None:
    other = stage.release("bolt", version=1, previous="")
    told = stage.deliver(other.to_bytes())
    assert reason_of(told) is Reason.MIX_AND_MATCH
    assert "the centre has signed two" in told.at_the_site


def test_mix_and_match_of_manifest_and_payload(stage: Stage) -> None:
    first = stage.centre.registry.published.read(1)
    told = stage.deliver(
        Release(stage.release("bolt").envelope, first.payload).to_bytes()
    )
    assert reason_of(told) is Reason.TAMPERED


def test_endless_data(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ReleaseLimits(max_release_bytes=2**16)
    monkeypatch.setattr(
        "mos_client.store.releases.ReleaseTrust", partial(ReleaseTrust, limits)
    )
    told = stage.deliver(bytes(2**16 + 1))
    assert reason_of(told) is Reason.TOO_LARGE


def test_tampered_tensor(stage: Stage) -> None:
    honest = stage.release("rex")
    changed = rewritten(honest.payload, {WORD: np.full((2, 6), 0.5, "<f4")})
    assert len(changed) == len(honest.payload)
    told = stage.deliver(Release(honest.envelope, changed).to_bytes())
    assert reason_of(told) is Reason.TAMPERED


def test_fast_forward(stage: Stage) -> None:
    told = stage.deliver(stage.release("rex", version=2**50).to_bytes())
    assert reason_of(told) is Reason.FAST_FORWARD


def test_poison_that_is_no_number(stage: Stage) -> None:
    honest = stage.release("rex").payload
    payload = rewritten(honest, {WORD: np.full((2, 6), np.inf, "<f4")})
    told = stage.deliver(stage.release("rex", payload=payload).to_bytes())
    assert reason_of(told) is Reason.NOT_FINITE
    assert WORD in told.at_the_site


LAYER = "text_encoder.encoder.layers.0.self_attn.q_proj"


def mos_of(payload: bytes) -> str:
    """The `mos` key of a payload, as it stands there."""
    length = int.from_bytes(payload[:8], "little")
    return str(json.loads(payload[8 : 8 + length])["__metadata__"]["mos"])


def changed(stage: Stage, change: Callable[[dict[str, np.ndarray]], None]) -> bytes:
    """A release whose tensors are others, rightly signed by the centre."""
    payload = stage.release("rex").payload
    tensors = load(payload)
    change(tensors)
    content = save(tensors, metadata={"mos": mos_of(payload)})
    return stage.release("rex", payload=content).to_bytes()


def test_poison_a_million_times_too_large(stage: Stage) -> None:
    def enlarge(tensors: dict[str, np.ndarray]) -> None:
        tensors[f"{LAYER}.lora_B.weight"] *= 1e6

    told = stage.deliver(changed(stage, enlarge))
    assert reason_of(told) is Reason.OUT_OF_BOUNDS
    assert LAYER in told.at_the_site


def test_poisoned_words(stage: Stage) -> None:
    def enlarge(tensors: dict[str, np.ndarray]) -> None:
        tensors[WORD] += 100

    told = stage.deliver(changed(stage, enlarge))
    assert reason_of(told) is Reason.OUT_OF_BOUNDS
    assert WORD in told.at_the_site


def test_release_of_concepts_without_any_lora(stage: Stage) -> None:
    def strip(tensors: dict[str, np.ndarray]) -> None:
        for name in [name for name in tensors if ".lora_" in name]:
            del tensors[name]

    told = stage.deliver(changed(stage, strip))
    assert reason_of(told) is Reason.WRONG_INVENTORY
    assert "without any LoRA" in told.at_the_site


def test_layer_with_one_factor(stage: Stage) -> None:
    def strip(tensors: dict[str, np.ndarray]) -> None:
        del tensors[f"{LAYER}.lora_B.weight"]

    told = stage.deliver(changed(stage, strip))
    assert reason_of(told) is Reason.WRONG_INVENTORY


def test_layer_that_the_base_lacks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the base is on the site's machine: `mini`, or a folder of its policy."""
    monkeypatch.setattr(
        "mos_client.federation.app.inventory_here", lambda home, base: stage.inventory
    )

    def add(tensors: dict[str, np.ndarray]) -> None:
        for end in ("lora_A", "lora_B"):
            tensors[f"unet.elsewhere.{end}.weight"] = tensors[f"{LAYER}.{end}.weight"]

    told = stage.deliver(changed(stage, add))
    assert reason_of(told) is Reason.WRONG_INVENTORY
    assert "unet.elsewhere" in told.at_the_site


def test_class_word_that_is_another_sites_placeholder(stage: Stage) -> None:
    honest = stage.release("rex")
    manifest = parse(ReleaseManifest, honest.sealed().payload, "a manifest")
    manifest.concepts[0].class_word = "<south/luna>"
    key = stage.centre.home.signing_key()
    envelope = seal(serialise(manifest), RELEASE_TYPE, key)
    told = stage.deliver(Release(envelope, honest.payload).to_bytes())
    assert reason_of(told) is Reason.MALFORMED
    assert "class word" in told.at_the_site


def test_copy_under_a_higher_number_bars_no_honest_release(stage: Stage) -> None:
    folder = stage.north.releases
    for end in ("safetensors", "safetensors.sig"):
        shutil.copy(folder / f"0001.{end}", folder / f"0900.{end}")
    assert stage.held("north") == 1
    assert ReleaseStore(stage.north).versions() == (1,)
    stage.publish("rex")
    stage.talk()
    assert stage.held("north") == stage.held("south") == 2


def test_bundle_shown_as_a_release(stage: Stage) -> None:
    told = stage.deliver(stage.first.to_bytes())
    assert reason_of(told) is Reason.WRONG_KIND


def test_honest_release_is_taken_up_after_an_attack(stage: Stage) -> None:
    stage.deliver(stage.first.to_bytes())
    stage.clock.now += 100
    stage.talk()
    newest = stage.centre.registry.published.newest()
    assert newest is not None
    assert stage.held("north") == stage.held("south") == newest.version
