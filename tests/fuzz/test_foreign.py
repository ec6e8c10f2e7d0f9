"""Mutated LoRA files through `mos-client import`: a concept, or one line and exit 2.

Two thousand of them in the slow suite, a share in the fast one, the same by seed. An
input that ever ended otherwise lies in `found/foreign/`, and is tried at every run.
"""

import random
from pathlib import Path

import pytest
import torch

from mos_client.cli import app
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.concept import Concept
from tests.fuzz.foreign import Files, honest_files, mutated
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.typing_in import type_in

FOUND = Path(__file__).parent / "found" / "foreign"
SHARE, WHOLE = 100, 2_000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def honest(base: str) -> list[Files]:
    return honest_files(random_concept(read_inventory(base)))


def import_files(files: Files, base: str, folder: Path) -> int:
    """The exit code; what is written is a whole concept, or nothing is."""
    for name, content in (
        ("lora.safetensors", files.lora),
        ("words.pt", files.words),
        ("adapter_config.json", files.adapter),
    ):
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)
    out = folder / "out.safetensors"
    out.unlink(missing_ok=True)
    words = [] if files.words is None else ["--words", folder / "words.pt"]
    line = ("import", folder / "lora.safetensors", "--base", base, "--out", out)
    code = type_in(app, *line, "--class-word", "cat", "--name", "rex", *words)
    assert out.exists() == (code == 0)
    if code == 0:
        concept = Concept.from_bytes(out.read_bytes())
        tensors = [t for f in concept.lora.values() for t in (f.down, f.up)]
        tensors += concept.embeddings.values()
        assert all(torch.isfinite(tensor).all() for tensor in tensors)
    return code


def attack(
    seed: int, count: int, honest: list[Files], base: str, folder: Path
) -> dict[int, int]:
    """How often each exit code came."""
    codes: dict[int, int] = {}
    source = random.Random(seed)
    for number in range(count):
        files = mutated(source, honest)
        try:
            code = import_files(files, base, folder)
            assert code in (0, 2), code
        except BaseException:
            keep(files, f"{seed}-{number}")
            raise
        codes[code] = codes.get(code, 0) + 1
    return codes


def keep(files: Files, name: str) -> None:
    """Store what failed, a file for each part."""
    FOUND.mkdir(parents=True, exist_ok=True)
    for part, content in vars(files).items():
        if content is not None:
            (FOUND / f"{name}.{part}").write_bytes(content)


def test_honest_files_are_imported(
    base: str, honest: list[Files], tmp_path: Path
) -> None:
    assert all(import_files(files, base, tmp_path) == 0 for files in honest)


def test_mutated_lora_files_are_imported_or_refused_in_one_line(
    base: str, honest: list[Files], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = attack(11, SHARE, honest, base, tmp_path)
    assert set(codes) == {0, 2}, codes
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_two_thousand_mutated_lora_files_are_imported_or_refused(
    base: str, honest: list[Files], tmp_path: Path
) -> None:
    codes = attack(12, WHOLE, honest, base, tmp_path)
    assert codes[2] > WHOLE // 2, codes


def test_what_once_broke_import_is_refused(base: str, tmp_path: Path) -> None:
    for path in sorted(FOUND.glob("*.lora")):
        parts = {
            part: path.with_suffix(f".{part}").read_bytes()
            for part in ("lora", "words", "adapter")
            if path.with_suffix(f".{part}").exists()
        }
        assert import_files(Files(**parts), base, tmp_path) in (0, 2), path.stem
