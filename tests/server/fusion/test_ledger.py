"""A ledger: what joins and leaves it, and what survives a process that dies."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mos_model.bases.base import Base, load_base
from mos_model.concepts.concept import Concept, FusedModel, LoraFactors
from mos_model.errors import BaseMismatchError
from mos_runtime.errors import StorageError
from mos_server.errors import FusionError, LedgerError
from mos_server.fusion import FusionSettings, Ledger, fuse_concepts
from mos_server.fusion.gradient_fusion import capture
from mos_server.fusion.ledger.compacting import useful_rank
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.disk import no_file_larger_than, snapshot

QUICK = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def concepts(base: Base) -> dict[str, Concept]:
    ranks = {"a": 4, "b": 2, "c": 3}
    return {
        name: random_concept(base.inventory, name, seed=seed, rank=ranks[name])
        for seed, name in enumerate(NAMES)
    }


@pytest.fixture(scope="module", autouse=True)
def captured_once() -> Iterator[None]:
    """Equal captures of these tests are made once: they are what takes long."""
    kept: dict[tuple[object, ...], dict[str, torch.Tensor]] = {}
    real = capture

    def once(
        base: Base, lora: Any, words: Any, prompts: Any, settings: Any, **more: Any
    ) -> dict[str, torch.Tensor]:
        first = next(iter(lora.values())).up.sum().item() if lora else 0.0
        key = (*prompts, settings.seed, first)
        if key not in kept:
            kept[key] = real(base, lora, words, prompts, settings, **more)
        return {name: gram.clone() for name, gram in kept[key].items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mos_server.fusion.ledger.ledger.capture", once)
        yield


@pytest.fixture
def ledger(tmp_path: Path, base: Base) -> Ledger:
    return Ledger(tmp_path / "ledger", base, QUICK)


@contextmanager
def unchanged(ledger: Ledger, folder: Path) -> Iterator[None]:
    before = snapshot(folder), ledger.model().to_bytes()
    yield
    assert (snapshot(folder), ledger.model().to_bytes()) == before


def furthest(one: FusedModel, other: FusedModel) -> float:
    """The largest relative difference of any layer's update."""
    assert [c.key for c in one.concepts] == [c.key for c in other.concepts]
    return max(
        float((own.dense() - other.lora[m].dense()).norm() / own.dense().norm())
        for m, own in one.lora.items()
    )


def test_withdrawn_concept_leaves_no_trace(
    ledger: Ledger, base: Base, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    for name in NAMES:
        ledger.join("s", concepts[name])
    ledger.withdraw("s/b")
    other = Ledger(tmp_path / "other", base, QUICK)
    for name in ("c", "a"):
        other.join("s", concepts[name])
    assert ledger.model().to_bytes() == other.model().to_bytes()
    assert snapshot(tmp_path / "ledger") == snapshot(tmp_path / "other")
    direct = fuse_concepts(
        base, [("s", concepts["a"]), ("s", concepts["c"])], settings=QUICK
    )
    assert furthest(ledger.model(), direct.model) < 1e-5


def test_many_joins_and_withdrawals_do_not_drift(
    ledger: Ledger, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    ledger.join("s", concepts["a"])
    with unchanged(ledger, tmp_path / "ledger"):
        for _ in range(3):
            ledger.join("s", concepts["b"])
            ledger.withdraw("s/b")


def test_newer_concept_of_one_name_takes_the_olders_place(
    ledger: Ledger, base: Base, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    newer = random_concept(base.inventory, "a", seed=77, rank=2)
    ledger.join("s", concepts["a"], source="1")
    ledger.join("s", newer, source="2")
    other = Ledger(tmp_path / "other", base, QUICK)
    other.join("s", newer, source="2")
    assert [entry.source for entry in ledger.entries()] == ["2"]
    assert ledger.model().to_bytes() == other.model().to_bytes()


def test_rebuilt_ledger_has_the_same_numbers(
    ledger: Ledger, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    for name in NAMES:
        ledger.join("s", concepts[name], source=name)
    with unchanged(ledger, tmp_path / "ledger"):
        ledger.rebuild([("s", concepts[name], name) for name in reversed(NAMES)])


def test_report_of_a_ledger_is_that_of_a_fusion(
    ledger: Ledger, base: Base, concepts: dict[str, Concept]
) -> None:
    for name in NAMES:
        ledger.join("s", concepts[name])
    direct = fuse_concepts(base, [("s", c) for c in concepts.values()], settings=QUICK)
    assert ledger.fuse().report.to_dict() == direct.report.to_dict()


def test_compact_fusion_has_the_same_updates_in_the_rank_that_layers_can_use(
    ledger: Ledger, base: Base, concepts: dict[str, Concept]
) -> None:
    useful = useful_rank(base.inventory.projections.values())
    ledger.join("s", concepts["a"])
    ledger.join("s", random_concept(base.inventory, "wide", seed=5, rank=useful))
    whole, small = ledger.fuse(), ledger.fuse(compact=True)
    ranks = {
        name: {factors.down.shape[0] for factors in fusion.model.lora.values()}
        for name, fusion in (("whole", whole), ("small", small))
    }
    assert ranks == {"whole": {useful + 4}, "small": {useful}}
    assert furthest(small.model, whole.model) < 1e-5
    assert small.report.to_dict() == whole.report.to_dict()


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_at(call: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """From the `call`-th write to the disk on, none happens any more."""
    calls = [0]

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def instead(*args: object, **kwargs: object) -> object:
            calls[0] += 1
            if calls[0] >= call:
                raise Killed
            return real(*args, **kwargs)

        return instead

    with monkeypatch.context() as patch:
        for name in ("replace", "fsync", "unlink"):
            patch.setattr(os, name, dying(getattr(os, name)))
        yield calls


@pytest.mark.parametrize("change", ["join", "withdraw", "replace"])
def test_death_between_any_two_writes_leaves_the_old_or_the_new_state(
    change: str,
    base: Base,
    concepts: dict[str, Concept],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = random_concept(base.inventory, "a", seed=77)

    def started(place: str) -> Ledger:
        shutil.copytree(tmp_path / "start", tmp_path / place)
        return Ledger(tmp_path / place, base, QUICK)

    def changed(ledger: Ledger) -> bytes:
        if change == "join":
            ledger.join("s", concepts["c"])
        elif change == "withdraw":
            ledger.withdraw("s/b")
        else:
            ledger.join("s", newer)
        return ledger.model().to_bytes()

    ledger = Ledger(tmp_path / "start", base, QUICK)
    for name in ("a", "b"):
        ledger.join("s", concepts[name])
    old = ledger.model().to_bytes()
    with killed_at(10**9, monkeypatch) as calls:
        new = changed(started("whole"))
    writes = calls[0]
    assert writes > 6
    seen = set()
    for call in range(1, writes + 1):
        dying = started(str(call))
        with killed_at(call, monkeypatch), pytest.raises(Killed):
            changed(dying)
        left = Ledger(tmp_path / str(call), base, QUICK)
        found = left.model().to_bytes()
        assert found in (old, new), call
        seen.add(found)
        if found == old:
            assert changed(left) == new, call
    assert seen == {old, new}


def test_full_disk_leaves_the_ledger_as_it_was(
    ledger: Ledger, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    ledger.join("s", concepts["a"])
    with unchanged(ledger, tmp_path / "ledger"):
        with no_file_larger_than(1000), pytest.raises(StorageError):
            ledger.join("s", concepts["b"])
        ledger.join("s", concepts["a"])  # sweeps what the failed one left


def spoiled(concept: Concept, module: str, up: float) -> Concept:
    factors = concept.lora[module]
    return replace(
        concept,
        lora={**concept.lora, module: LoraFactors(factors.down, up * factors.up)},
    )


@pytest.mark.parametrize("kind", ["nan", "huge", "base", "layers", "rank", "words"])
def test_concept_that_cannot_be_fused_is_named_and_the_ledger_kept(
    kind: str, ledger: Ledger, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    ledger.join("s", concepts["a"])
    good = concepts["b"]
    module = sorted(good.lora)[3]
    fewer = {name: lora for name, lora in good.lora.items() if name != module}
    words = {name: torch.nan * rows for name, rows in good.embeddings.items()}
    thin = LoraFactors(good.lora[module].down[:1], good.lora[module].up[:, :1])
    bad, told = {
        "nan": (spoiled(good, module, torch.nan), f"s/b: layer {module} holds NaN"),
        "huge": (
            spoiled(good, module, 1e4),
            f"s/b: layer {module}: the update has .* times the norm of a layer",
        ),
        "base": (
            replace(good, facts=replace(good.facts, base="0" * 64)),
            "concept s/b was made for base 0000",
        ),
        "layers": (replace(good, lora=fewer), f"s/b: layer {module} is either missing"),
        "rank": (
            replace(good, lora={**good.lora, module: thin}),
            f"s/b: layer {module} has factors of rank 1 and 1, the concept says 2",
        ),
        "words": (replace(good, embeddings=words), "s/b: its words for text_encoder"),
    }[kind]
    error = BaseMismatchError if kind == "base" else FusionError
    with unchanged(ledger, tmp_path / "ledger"), pytest.raises(error, match=told):
        ledger.join("s", bad)


def test_singular_sum_is_refused_with_concept_and_layer_named(
    base: Base, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    bare = Ledger(tmp_path, base, replace(QUICK, ridge=0.0, prior=0.0))
    told = r"s/a: text_encoder\.\S+: the layer's moments are singular"
    with pytest.raises(FusionError, match=told):
        bare.join("s", concepts["a"])
    assert snapshot(tmp_path) == {}


def test_ledger_of_another_base_or_other_settings_is_refused(
    ledger: Ledger, base: Base, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    ledger.join("s", concepts["a"])
    folder = tmp_path / "ledger"
    other = Ledger(folder, base, replace(QUICK, ridge=0.5, seed=3))
    with unchanged(ledger, folder):
        with pytest.raises(LedgerError, match="made with another ridge, seed"):
            other.join("s", concepts["b"])
        foreign = replace(base, inventory=replace(base.inventory, base="1" * 64))
        with pytest.raises(LedgerError, match="the ledger is of base"):
            Ledger(folder, foreign, QUICK).model()


def test_damage_is_noticed_and_mended_by_rebuilding(
    ledger: Ledger, concepts: dict[str, Concept], tmp_path: Path
) -> None:
    ledger.join("s", concepts["a"])
    sound = snapshot(tmp_path / "ledger")
    for blob in sorted((tmp_path / "ledger" / "blobs").iterdir()):
        content = bytearray(blob.read_bytes())
        content[-1] ^= 1
        blob.write_bytes(content)
        with pytest.raises(LedgerError, match="damaged"):
            ledger.fuse()
        ledger.rebuild([("s", concepts["a"], "")])
        assert snapshot(tmp_path / "ledger") == sound
    (tmp_path / "ledger" / "ledger.json").write_text('{"format": "mos-ledger/0"}')
    with pytest.raises(LedgerError, match="another version"):
        ledger.entries()


def test_chained_or_unbalanced_fusion_has_no_ledger(base: Base, tmp_path: Path) -> None:
    for settings in (
        replace(QUICK, inputs="chained"),
        replace(QUICK, balance=False),
    ):
        with pytest.raises(FusionError, match="takes solo inputs and balanced"):
            Ledger(tmp_path, base, settings)


def test_unknown_concept_is_not_withdrawn(
    ledger: Ledger, concepts: dict[str, Concept]
) -> None:
    ledger.join("s", concepts["a"])
    with pytest.raises(FusionError, match="s/x: not in the ledger, which holds s/a"):
        ledger.withdraw("s/x")
