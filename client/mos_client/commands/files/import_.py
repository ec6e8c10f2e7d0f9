"""`mos-client import`: a LoRA of another tool becomes a concept."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mos_client.commands.options import JsonOption
from mos_runtime.console import ForceOption, console, print_json


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="Mix-of-Show's `.pth`, a LoRA file, or a folder of PEFT or diffusers."
        ),
    ],
    class_word: Annotated[
        str, typer.Option(help="Ordinary word for the subject, as `cat`.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the concept (default: the file's).")
    ] = None,
    base: Annotated[str, typer.Option(help="The base it was made for.")] = "mini",
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: NAME.safetensors).")
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="Textual inversion that belongs to the LoRA."),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Terms of use, stored in the concept.")
    ] = "",
    drop_extra_layers: Annotated[
        bool,
        typer.Option(
            "--drop-extra-layers",
            help="Drop layers that are not attention projections.",
        ),
    ] = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Make a concept from a file of Mix-of-Show, kohya, ComfyUI, PEFT or diffusers.

    In prompts, <NAME> stands for the file's own words. Where it has none, <NAME> stands
    for the class word; of `--class-word "sks dog"` both tokens are used.
    """
    from mos_client.tuning.checks.preflight import checked_terms
    from mos_model.interop import import_concept
    from mos_protocol.signed.blob import signature_path
    from mos_runtime.files import write_atomically

    checked_terms(licence=licence, class_word=class_word)
    if out is not None:
        _check_free(out, file, force=force)
    imported = import_concept(
        file,
        base=base,
        class_word=class_word,
        name=name,
        words=words,
        drop_extra=drop_extra_layers,
        licence=licence,
    )
    concept = imported.concept
    path = Path(f"{concept.facts.name}.safetensors") if out is None else out
    _check_free(path, file, force=force)
    content = concept.to_bytes()
    # An older signature would not be this concept's.
    signature_path(path).unlink(missing_ok=True)
    write_atomically(path, content)
    if json:
        result: dict[str, Any] = {
            "concept": concept.facts.name,
            "class_word": class_word,
            "rank": concept.facts.rank,
            "file": str(path),
            "bytes": len(content),
            "own_words": imported.own_words,
            "dropped": list(imported.dropped),
            "absent": list(imported.absent),
        }
        print_json(result)
        return
    if imported.dropped:
        console.print(f"{len(imported.dropped)} layers dropped", markup=False)
    if imported.absent:
        console.print(
            f"{len(imported.absent)} attention layers are not in the file: zero here",
            markup=False,
        )
    if not imported.own_words:
        console.print(
            f"no words in the file: {class_word!r} is used instead", markup=False
        )
    console.print(
        f"{path}: {len(content)} bytes; use it as <{concept.facts.name}> in prompts, "
        f"and `mos-client share {path}` signs it",
        markup=False,
    )


def _check_free(path: Path, source: Path, *, force: bool) -> None:
    """Refuse to write over what is read, or over what the user keeps."""
    from mos_protocol.signed.blob import signature_path
    from mos_runtime.errors import OutputError
    from mos_runtime.outputs import output_file

    if path.exists() and source.exists() and path.samefile(source):
        raise OutputError(f"{path}: is the file that is read; choose another --out")
    output_file(path, force=force, suffixes=(".safetensors",))
    output_file(signature_path(path), force=force, option="the signature")
