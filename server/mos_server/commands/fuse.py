"""`mos-server fuse`: fuse concept files by hand, outside any federation."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mos_runtime.console import ForceOption, console, print_json, progress
from mos_runtime.files import data_folder, read_whole, write_atomically
from mos_runtime.outputs import output_file
from mos_server.commands.options import DeviceOption, HomeOption, JsonOption
from mos_server.errors import FusionError

if TYPE_CHECKING:
    from mos_model.bases.base import Base
    from mos_model.concepts.concept import Concept
    from mos_protocol.rules.admission import KnownSite
    from mos_server.fusion import Fusion, FusionSettings, OnProgress

_MAX_CONCEPT_BYTES = 2**30


def fuse(
    out: Annotated[Path, typer.Option(help="The fused model, a safetensors file.")],
    bundles: Annotated[
        list[Path] | None, typer.Argument(help="Concept files to fuse.")
    ] = None,
    base: Annotated[str, typer.Option(help="Base they were tuned on.")] = "mini",
    ledger: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what was fused: give new files alone."),
    ] = None,
    withdraw: Annotated[
        list[str] | None, typer.Option(help="Concept to take out of the ledger.")
    ] = None,
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
    device: DeviceOption = "auto",
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Fuse concepts into one model: low-rank factors, and every concept's words.

    A concept with FILE.sig beside it is verified, where its signer is a site of this
    centre. Beside OUT, OUT.report.json and OUT.report.html tell what each concept kept.
    """
    import json as json_format

    from mos_model.bases.base import load_base
    from mos_model.devices import pick_device
    from mos_server.fusion import FusionSettings
    from mos_server.fusion.narrowing import narrowed
    from mos_server.fusion.report.page import render_report

    overrides: dict[str, Any] = {
        "ridge": ridge,
        "prior": prior,
        "inputs": _checked_inputs(inputs),
        "seed": seed,
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    if withdraw and ledger is None:
        raise FusionError("--withdraw takes a concept out of a ledger: pass --ledger")
    output_file(out, force=force, suffixes=(".safetensors",))
    report_path = out.with_name(f"{out.name}.report.json")
    page = report_path.with_suffix(".html")
    for path in (report_path, page):
        output_file(path, force=force, option="the report")
    keys = _site_keys(home)
    concepts = [_read(path, keys) for path in bundles or []]
    loaded = load_base(base, device=pick_device(device))
    settings = FusionSettings.for_base(loaded, **given)
    with progress() as display:
        task = display.add_task("fusing", total=100, note="")

        def show(what: str, share: float) -> None:
            display.update(task, completed=round(100 * share), note=what)

        fusion = _fused(loaded, concepts, ledger, withdraw or [], settings, show)
    report = fusion.report.to_dict()
    write_atomically(out, narrowed(fusion.model).to_bytes())
    write_atomically(report_path, json_format.dumps(report, indent=1).encode())
    write_atomically(page, render_report(report).encode())
    kept = {name: fusion.report.kept(name) for name in fusion.report.concepts}
    if json:
        files = {"release": str(out), "report": str(report_path), "page": str(page)}
        print_json({**files, "kept": kept, "drift": fusion.report.drift()})
        return
    for name, share in kept.items():
        console.print(f"<{name}> keeps {share:.1%} of its change", markup=False)
    console.print(f"the base moves by {fusion.report.drift():.2%} on generic prompts")
    console.print(f"fused model: {out}", markup=False)
    console.print(f"report: {page}", markup=False)


def _fused(
    base: "Base",
    concepts: "list[tuple[str, Concept, str]]",
    folder: Path | None,
    leaving: list[str],
    settings: "FusionSettings",
    tell: "OnProgress",
) -> "Fusion":
    from mos_server.fusion import Ledger, fuse_concepts
    from mos_server.fusion.progress import part_of

    if folder is None:
        pairs = [(site, concept) for site, concept, _ in concepts]
        return fuse_concepts(base, pairs, settings=settings, on_progress=tell)
    ledger = Ledger(folder, base, settings)
    for name in leaving:
        ledger.withdraw(name)
    held = {entry.source for entry in ledger.entries()}
    for place, (site, concept, source) in enumerate(concepts):
        share = part_of(tell, place / len(concepts), (place + 1) / len(concepts))
        if source not in held:
            ledger.join(site, concept, source=source, on_progress=share)
    return ledger.fuse()


def _checked_inputs(inputs: str | None) -> str | None:
    if inputs not in (None, "solo", "chained"):
        raise FusionError(f"--inputs {inputs}: either solo or chained")
    return inputs


def _site_keys(home: Path | None) -> "dict[str, KnownSite]":
    """The sites of the centre on this machine, none where there is no centre."""
    from mos_server.registry.home import HOME_VARIABLE, CentreHome
    from mos_server.registry.registry import Registry

    folder = home or data_folder(HOME_VARIABLE, "centre")
    if home is None and not CentreHome(folder).signing_key_path.is_file():
        return {}
    return Registry(CentreHome.open(folder)).membership.known()


def _read(path: Path, sites: "dict[str, KnownSite]") -> "tuple[str, Concept, str]":
    """A concept, the site that signed it, "" where nothing shows that, and a digest."""
    from mos_model.concepts.concept import Concept
    from mos_model.errors import ConceptError

    content = read_whole(path, what="a concept", max_bytes=_MAX_CONCEPT_BYTES)
    site = _signer(path, content, sites)
    try:
        concept = Concept.from_bytes(content)
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error
    return site, concept, hashlib.sha256(content).hexdigest()


def _signer(path: Path, content: bytes, sites: "dict[str, KnownSite]") -> str:
    from mos_protocol.errors import ProtocolError
    from mos_protocol.rules.at_rest import bundle_as_signed
    from mos_protocol.signed.blob import signature_path
    from mos_protocol.signed.bundle import Bundle
    from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES

    beside = signature_path(path)
    if not beside.is_file():
        console.print(f"{path}: not signed, taken as it is", markup=False)
        return ""
    envelope = read_whole(beside, what="an envelope", max_bytes=MAX_ENVELOPE_BYTES)
    bundle = Bundle(envelope, content)
    try:
        signer = sites.get(bundle.sealed().key_id)
        if signer is None:
            line = f"{path}: UNVERIFIED, its signer is no site of this centre"
            console.print(line, markup=False)
            return ""
        if signer.revoked:
            raise FusionError(f"{path}: signed by site {signer.name!r}, now revoked")
        bundle_as_signed(bundle, signer.key)
    except ProtocolError as error:
        raise type(error)(f"{path}: {error}") from error
    console.print(f"{path}: verified, from site {signer.name}", markup=False)
    return signer.name
