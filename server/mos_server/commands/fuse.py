"""`mos-server fuse`: fuse concept files by hand, outside any federation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mos_server.errors import FusionError
from mos_shared.console import console, print_json, progress
from mos_shared.files import read_whole, write_atomically

_MAX_CONCEPT_BYTES = 2**30


def fuse(
    bundles: Annotated[list[Path], typer.Argument(help="Concept files to fuse.")],
    out: Annotated[Path, typer.Option(help="The fused model, a safetensors file.")],
    base: Annotated[str, typer.Option(help="Base they were tuned on.")] = "mini",
    ridge: Annotated[
        float | None, typer.Option(min=0, help="Ridge, relative to the moments.")
    ] = None,
    prior: Annotated[
        float | None, typer.Option(min=0, help="Weight of generic prompts.")
    ] = None,
    inputs: Annotated[
        str | None, typer.Option(help="Later stages' inputs: solo or chained.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the captures.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Fuse concepts into one model: low-rank factors, and every concept's words.

    Beside OUT, a report OUT.report.json tells what each concept kept.
    """
    import json as json_format

    from mos_server.fusion import FusionSettings, fuse_concepts
    from mos_shared.base import load_base

    overrides: dict[str, Any] = {
        "ridge": ridge,
        "prior": prior,
        "inputs": _checked_inputs(inputs),
        "seed": seed,
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    concepts = [("", _read(path)) for path in bundles]
    loaded = load_base(base)
    settings = FusionSettings.for_base(loaded, **given)
    with progress() as display:
        task = display.add_task("fusing", total=100, note="")

        def show(what: str, share: float) -> None:
            display.update(task, completed=round(100 * share), note=what)

        fusion = fuse_concepts(loaded, concepts, settings=settings, on_progress=show)
    report = fusion.report.to_dict()
    write_atomically(out, fusion.model.to_bytes())
    report_path = out.with_name(f"{out.name}.report.json")
    write_atomically(report_path, json_format.dumps(report, indent=1).encode())
    kept = {name: fusion.report.kept(name) for name in fusion.report.concepts}
    if json:
        result = {"release": str(out), "report": str(report_path), "kept": kept}
        print_json(result | {"drift": fusion.report.drift()})
        return
    for name, share in kept.items():
        console.print(f"<{name}> keeps {share:.1%} of its change")
    console.print(f"the base moves by {fusion.report.drift():.2%} on generic prompts")
    console.print(f"fused model: {out}")


def _checked_inputs(inputs: str | None) -> str | None:
    if inputs not in (None, "solo", "chained"):
        raise FusionError(f"--inputs {inputs}: either solo or chained")
    return inputs


def _read(path: Path) -> Any:
    from mos_shared.concept import Concept
    from mos_shared.errors import ConceptError

    content = read_whole(path, what="a concept", max_bytes=_MAX_CONCEPT_BYTES)
    try:
        return Concept.from_bytes(content)
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error
