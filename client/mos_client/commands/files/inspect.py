"""`mos-client inspect`: what a file holds, signed or not."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mos_client.commands.options import JsonOption
from mos_runtime.console import console, print_json

if TYPE_CHECKING:
    from mos_model.concepts.concept import Concept, FusedModel, LoraFactors


def inspect(
    file: Annotated[
        Path, typer.Argument(help="A concept or a release, NAME.safetensors.")
    ],
    json: JsonOption = False,
) -> None:
    """Show the contents of a concept or a release; `verify` checks its signature."""
    from mos_model.concepts.concept import FUSED_FORMAT, Concept, FusedModel, format_of
    from mos_model.errors import ConceptError
    from mos_protocol.signed.blob import signature_path
    from mos_protocol.signed.release import MAX_RELEASE_BYTES
    from mos_runtime.files import read_whole

    content = read_whole(
        file, what="a concept or a release", max_bytes=MAX_RELEASE_BYTES
    )
    try:
        kind = format_of(content)
        held: Concept | FusedModel = (
            FusedModel.from_bytes(content)
            if kind == FUSED_FORMAT
            else Concept.from_bytes(content)
        )
    except ConceptError as error:
        raise ConceptError(f"{file}: {error}") from error
    facts: dict[str, Any] = {"file": str(file), "bytes": len(content), "format": kind}
    result = facts | _facts(held)
    result["components"] = _components(held.lora)
    result["signer"] = _signer(signature_path(file))
    if json:
        print_json(result)
        return
    for key in ("file", "format", "bytes", "base", "rank", "trigger", "class_word"):
        if key in result:
            console.print(f"{key}: {result[key]}", markup=False)
    if result.get("licence"):
        console.print(f"licence: {result['licence']}", markup=False)
    for concept in result["concepts"]:
        console.print(f"holds {concept}", markup=False)
    _show(result["components"])
    signer = result["signer"]
    said = f"says it is signed by key {signer[:12]}" if signer else "not signed"
    console.print(f"{said}; `mos-client verify` checks it" if signer else said)


def _facts(held: "Concept | FusedModel") -> dict[str, Any]:
    from mos_model.concepts.concept import Concept

    if isinstance(held, Concept):
        facts = held.facts
        return {
            "base": facts.base,
            "rank": facts.rank,
            "trigger": f"<{facts.name}>",
            "class_word": facts.class_word,
            "licence": facts.licence,
            "concepts": [facts.name],
            "word_norms": _norms(held.embeddings),
        }
    return {
        "base": held.base,
        "rank": max((f.down.shape[0] for f in held.lora.values()), default=0),
        "concepts": [concept.key for concept in held.concepts],
        "word_norms": {c.key: _norms(c.embeddings) for c in held.concepts},
    }


def _norms(embeddings: Mapping[str, Any]) -> dict[str, list[float]]:
    """Text encoder -> mean norm over the layers of V_rand and of V_class."""
    return {
        encoder: vectors.float().norm(dim=-1).mean(1).tolist()
        for encoder, vectors in embeddings.items()
    }


def _components(lora: "Mapping[str, LoraFactors]") -> dict[str, dict[str, Any]]:
    """Component -> number of pairs, bytes, and the mean and largest ||B A||_F."""
    found: dict[str, list[LoraFactors]] = {}
    for module, factors in lora.items():
        found.setdefault(module.split(".", 1)[0], []).append(factors)
    summary: dict[str, dict[str, Any]] = {}
    for component, pairs in sorted(found.items()):
        norms = [_update_norm(factors) for factors in pairs]
        tensors = [t for factors in pairs for t in (factors.down, factors.up)]
        summary[component] = {
            "pairs": len(pairs),
            "bytes": sum(t.numel() * t.element_size() for t in tensors),
            "mean_norm": sum(norms) / len(norms),
            "largest_norm": max(norms),
        }
    return summary


def _update_norm(factors: "LoraFactors") -> float:
    """||B A||_F = sqrt(tr(B^T B A A^T)), without the full matrix."""
    down, up = factors.down.double(), factors.up.double()
    square = float(((up.T @ up) * (down @ down.T)).sum())
    return math.sqrt(max(square, 0.0))


def _signer(signature: Path) -> str | None:
    """The key id in the envelope next to a file; nothing is verified."""
    from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES, open_envelope
    from mos_runtime.files import read_whole

    if not signature.exists():
        return None
    content = read_whole(signature, what="an envelope", max_bytes=MAX_ENVELOPE_BYTES)
    return open_envelope(content, endorsed=True).key_id


def _show(components: Mapping[str, Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    headings: Sequence[str] = ("pairs", "bytes", "mean norm", "largest norm")
    table.add_column("component")
    for heading in headings:
        table.add_column(heading, justify="right")
    for component, summary in components.items():
        table.add_row(
            component,
            str(summary["pairs"]),
            f"{summary['bytes']:,}",
            f"{summary['mean_norm']:.4g}",
            f"{summary['largest_norm']:.4g}",
        )
    console.print(table)
