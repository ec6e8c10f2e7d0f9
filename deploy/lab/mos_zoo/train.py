"""Train the mini zoo: `python -m mos_zoo.train [STAGE ...] --minutes M`.

Stages in order: world (render the pictures), vae, clip, latents (encode the pictures),
decoder, unet, adapter, controlnet. Every stage goes on from its newest whole
checkpoint; Ctrl-C and SIGTERM leave one. `python -m mos_zoo.assemble` then
writes the pipeline directories.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

STAGES: Final = (
    *("world", "vae", "clip", "latents", "decoder"),
    *("unet", "adapter", "controlnet"),
)
STATE: Final = Path(".zoo")
_QUIET_MALLOC: Final[Mapping[str, str]] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "67108864",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
}
"""glibc gives memory back and takes it anew at every step otherwise: 20% slower."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages; returns the exit code."""
    from mos_runtime.errors import MosError

    options = _parser().parse_args(arguments)
    try:
        for stage in options.stages or STAGES:
            _run(stage, options)
    except MosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(name: str, options: argparse.Namespace) -> None:
    import torch

    from mos_zoo.training.dataset import render_sets
    from mos_zoo.training.latents import encode_sets
    from mos_zoo.training.loop import Span, train
    from mos_zoo.training.stages import stage_of

    workers = options.workers or os.cpu_count() or 1
    data = options.state / "data"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "world":
        render_sets(data, workers=workers)
    elif name == "latents":
        encode_sets(options.state, workers=workers)
    else:
        span = Span(
            seconds=60 * options.minutes,
            finish=options.finish,
            max_steps=options.max_steps,
        )
        train(
            stage_of(name, options.state),
            options.state,
            span,
            workers=workers,
            device=device,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mos_zoo.train", description="Train the mini zoo."
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument(
        "--minutes", type=float, default=60, help="for every stage that is trained"
    )
    parser.add_argument(
        "--state", type=Path, default=STATE, help="checkpoints and data"
    )
    parser.add_argument("--workers", type=int, help="processes; all cores by default")
    parser.add_argument(
        "--finish", action="store_true", help="cool down, beside the ordinary state"
    )
    parser.add_argument("--max-steps", type=int, help="stop after so many steps")
    return parser


def _with_quiet_malloc() -> None:
    """Start this program anew with glibc's settings, which count at the start alone."""
    if all(os.environ.get(key) == value for key, value in _QUIET_MALLOC.items()):
        return
    command = [sys.executable, "-m", "mos_zoo.train", *sys.argv[1:]]
    os.execve(sys.executable, command, os.environ | dict(_QUIET_MALLOC))


if __name__ == "__main__":
    _with_quiet_malloc()
    sys.exit(main())
