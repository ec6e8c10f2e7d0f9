"""Stock diffusers in a process of its own, which never imports this project.

Run as a program, this file draws one picture for every line of JSON on its input.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image


class Stock:
    """The process, as the tests speak to it."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process, self._folder = process, folder

    def draw(
        self,
        base: Path | str,
        *,
        lora: Path | None = None,
        words: Mapping[str, Path] | None = None,
        scheduler: str = "DPMSolverMultistepScheduler",
        **call: Any,
    ) -> Image.Image:
        """One picture.

        Args:
            base: A pipeline directory.
            lora: A file for `load_lora_weights`.
            words: Token -> a file for `load_textual_inversion`.
            scheduler: Class name; its settings are the base's.
            call: The pipeline's own arguments, and `seed`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out = self._folder / "stock.png"
        job = {
            "base": str(base),
            "lora": str(lora or ""),
            "words": {token: str(path) for token, path in (words or {}).items()},
            "scheduler": scheduler,
            "call": call,
            "out": str(out),
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the stock process ended; its traceback is above"
        assert json.loads(answer) == {"foreign_modules": []}
        with Image.open(out) as picture:
            return picture.copy()


@contextmanager
def stock_diffusers(
    folder: Path, python: Path | str = sys.executable
) -> Iterator[Stock]:
    """Start the process; `-I` keeps this project's folders off its path."""
    command = [str(python), "-I", __file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Stock(process, folder)
        assert process.stdin is not None
        process.stdin.close()


TRANSFORMERS_4 = (
    *("transformers==4.57.6", "huggingface_hub==0.36.0", "tokenizers==0.22.1"),
    *("diffusers==0.35.2", "peft==0.17.1"),
)
"""What people who have not moved to transformers 5 have; torch is the installed one."""


def python_with(folder: Path, packages: Sequence[str]) -> Path | None:
    """A Python in which these packages stand before the installed ones.

    None where they cannot be fetched.
    """
    venv.create(folder, with_pip=True)
    (own,) = folder.glob("lib/python*/site-packages")
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (own / "installed.pth").write_text("\n".join(paths))
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "-q", "--no-deps", *packages]
    done = subprocess.run(command, check=False, capture_output=True)
    return python if done.returncode == 0 else None


def _draw(job: Mapping[str, Any]) -> None:
    import diffusers
    import torch

    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        job["base"], local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = getattr(diffusers, job["scheduler"]).from_config(
        pipeline.scheduler.config
    )
    if job["lora"]:
        pipeline.load_lora_weights(job["lora"])
    for token, path in job["words"].items():
        _load_words(pipeline, token, path)
    call = dict(job["call"])
    generator = torch.Generator().manual_seed(call.pop("seed"))
    pipeline(**call, generator=generator).images[0].save(job["out"])


def _load_words(pipeline: Any, token: str, path: str) -> None:
    """Load a textual inversion, SDXL's as its documentation does."""
    from safetensors.torch import load_file

    vectors = load_file(path)
    if "clip_g" not in vectors:
        pipeline.load_textual_inversion(path, token=token)
        return
    for key, end in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            vectors[key],
            token=token,
            text_encoder=getattr(pipeline, f"text_encoder{end}"),
            tokenizer=getattr(pipeline, f"tokenizer{end}"),
        )


if __name__ == "__main__":
    for line in sys.stdin:
        _draw(json.loads(line))
        foreign = sorted(name for name in sys.modules if name.startswith("mos_"))
        print(json.dumps({"foreign_modules": foreign}), flush=True)
