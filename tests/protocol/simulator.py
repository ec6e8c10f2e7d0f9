"""A federation in memory: one site, one centre, and what an attacker can sign.

`Centre` and `Site` keep their state as the real ones do: they change it only after the
rules have been kept. Tests compare their state before and after an attack.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save

from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import Concept, FusedConcept, FusedModel
from mos_protocol import (
    Admission,
    AdmissionLimits,
    AdmittedBundle,
    Bundle,
    HeldRelease,
    KnownSite,
    Release,
    ReleasedConcept,
    ReleaseFacts,
    ReleaseLimits,
    ReleaseTrust,
    SigningKey,
    VerifyKey,
    seal,
)
from mos_protocol.encoding.canonical import parse, serialise
from mos_protocol.encoding.header import read_header
from mos_protocol.manifest_pb2 import BundleManifest, ReleaseManifest
from mos_protocol.signed.envelope import BUNDLE_TYPE, RELEASE_TYPE
from tests.support.concepts import random_concept

NOW = 1_760_000_000
WEEK = 7 * 24 * 3600
BASE = "ab" * 32


def key_number(number: int) -> SigningKey:
    """A signing key that is the same in every run."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


SITE_KEY, CENTRE_KEY, STRANGER_KEY = key_number(1), key_number(2), key_number(3)
NEW_KEY = key_number(4)
"""The next one, of a site or of the centre."""


def small_inventory(base: str = BASE) -> Inventory:
    """A base of one cross-attention block and one text projection, widths 6 and 4."""
    block = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    unet = {
        f"{block}.to_q.weight": (6, 6),
        f"{block}.to_k.weight": (6, 4),
        f"{block}.to_v.weight": (6, 4),
        f"{block}.to_out.0.weight": (6, 6),
    }
    text = {
        "encoder.layers.0.self_attn.q_proj.weight": (4, 4),
        "embeddings.token_embedding.weight": (30, 4),
    }
    components = {"unet": unet, "text_encoder": text}
    return Inventory.from_tensor_shapes(base, components, label="small")


def concept(name: str = "rex", **changes: Any) -> Concept:
    """A concept of the small base; `changes` to its facts."""
    found = random_concept(small_inventory(), name, rank=2)
    return replace(found, facts=replace(found.facts, **changes))


def bundle(payload: bytes | None = None, **changes: Any) -> Bundle:
    """An honest bundle of the site; `changes` to the arguments of `Bundle.sign`."""
    arguments: dict[str, Any] = {
        "site": "north",
        "counter": 1,
        "key": SITE_KEY,
        "created": NOW - 60,
        "expires": NOW + WEEK,
    }
    content = concept().to_bytes() if payload is None else payload
    return Bundle.sign(content, **(arguments | changes))


def fused(*names: str, site: str = "north") -> bytes:
    """The payload of a release of these concepts, rank 2 each."""
    parts = [
        random_concept(small_inventory(), name, seed=seed, rank=2)
        for seed, name in enumerate(names)
    ]
    lora = random_concept(small_inventory(), rank=2 * len(parts)).lora
    words = tuple(
        FusedConcept(part.facts.name, site, part.facts.class_word, part.embeddings)
        for part in parts
    )
    return FusedModel(BASE, lora, words).to_bytes()


def release(payload: bytes | None = None, **changes: Any) -> Release:
    """An honest first release of `north/rex`; `changes` to `Release.sign`."""
    arguments: dict[str, Any] = {
        "version": 1,
        "previous": "",
        "concepts": [released("rex")],
        "key": CENTRE_KEY,
        "created": NOW - 60,
        "expires": NOW + WEEK,
    }
    content = fused("rex") if payload is None else payload
    return Release.sign(content, **(arguments | changes))


def released(name: str, site: str = "north") -> ReleasedConcept:
    """A concept as a release names it."""
    return ReleasedConcept(site, name, "cat", SITE_KEY.public.key_id, "cd" * 32)


def forged_bundle(like: Bundle, payload: bytes, **fields: Any) -> Bundle:
    """A bundle whose site signs a manifest of its own making."""
    manifest = parse(BundleManifest, like.sealed().payload, "a manifest")
    for name, value in fields.items():
        setattr(manifest, name, value)
    return Bundle(seal(serialise(manifest), BUNDLE_TYPE, SITE_KEY), payload)


def forged_release(like: Release, payload: bytes, **fields: Any) -> Release:
    """A release whose centre signs a manifest of its own making."""
    manifest = parse(ReleaseManifest, like.sealed().payload, "a manifest")
    for name, value in fields.items():
        setattr(manifest, name, value)
    return Release(seal(serialise(manifest), RELEASE_TYPE, CENTRE_KEY), payload)


def rewritten(
    payload: bytes,
    tensors: Mapping[str, np.ndarray],
    *,
    without: str = "",
    said: Mapping[str, Any] | None = None,
) -> bytes:
    """The same file with some tensors replaced, added, or one left out.

    What it says of itself changes by `said`.
    """
    header = read_header(payload)
    found = {
        span.name: np.frombuffer(payload[span.begin : span.end], "<f4").reshape(
            span.shape
        )
        for span in header.spans
        if span.name != without
    }
    mos = json.dumps(
        dict(header.mos) | dict(said or {}), sort_keys=True, separators=(",", ":")
    )
    return save(found | dict(tensors), metadata={"mos": mos})


@dataclass
class Centre:
    """A centre that knows the site `north`, and keeps what it admits."""

    limits: AdmissionLimits = field(default_factory=AdmissionLimits)
    sites: dict[str, KnownSite] = field(
        default_factory=lambda: {
            SITE_KEY.public.key_id: KnownSite("north", SITE_KEY.public, False, 0)
        }
    )
    admitted: list[str] = field(default_factory=list)

    def receive(self, content: bytes, *, now: int = NOW) -> AdmittedBundle:
        """Admit a blob, and only then remember it."""
        rules = Admission(small_inventory(), self.limits)
        found = rules.admit(content, sites=self.sites, now=now)
        key_id = found.site.key.key_id
        self.sites[key_id] = replace(found.site, counter=found.facts.counter)
        self.admitted.append(found.bundle.digest)
        return found

    def state(self) -> tuple[dict[str, KnownSite], list[str]]:
        """All that an attack could move."""
        return dict(self.sites), list(self.admitted)


@dataclass
class Site:
    """A site that trusts the centre's key, and holds the newest release it took."""

    held: HeldRelease | None = None
    limits: ReleaseLimits = field(default_factory=ReleaseLimits)
    knows_base: bool = True
    centre_key: VerifyKey = CENTRE_KEY.public

    def take(self, content: bytes, *, now: int = NOW) -> ReleaseFacts:
        """Take a release up, and only then remember it."""
        rules = ReleaseTrust(self.limits)
        facts = rules.check(
            content,
            centre_key=self.centre_key,
            base=BASE,
            inventory=small_inventory() if self.knows_base else None,
            held=self.held,
            now=now,
        )
        self.held = HeldRelease(facts.version, Release.from_bytes(content).digest)
        self.centre_key = rules.signer(content, self.centre_key)
        return facts


def counted(shape: tuple[int, ...], start: float) -> torch.Tensor:
    """start, start + 1/64, ...: values that every machine writes alike."""
    count = int(np.prod(shape))
    return (torch.arange(count, dtype=torch.float32) / 64 + start).reshape(shape)
