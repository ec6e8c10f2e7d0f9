"""Mutated pictures, captions and concept files through `tune --check`: never exit 70.

Every file of a folder is used or named. Always the same mutants, by seed.
"""

import json
import random
from pathlib import Path

import pytest

from mos_client.cli import app
from tests.fuzz.mutations import changed_bytes
from tests.fuzz.pictures import mutated, originals
from tests.support.bases import save_tiny_sd
from tests.support.typing_in import type_in

SUFFIXES = ("png", "jpg", "webp", "tif", "gif", "avif", "heic", "jp2")
TEXT = b'{"caption": "a photo of {} <TOK>", "file_name": "0.png"}\n'
TOML = b'name = "Rex"\nclass_word = "dog"\ncaptions = ["a photo of {}"]\n'
A_FOLDER = 100


def attack(folder: Path, base: str, capsys: pytest.CaptureFixture[str], n: int) -> int:
    """Pictures that were judged: a broken `concept.toml` ends before them."""
    judged = 0
    source, pictures = random.Random(n), originals()
    for first in range(0, n, A_FOLDER):
        data = folder / f"r{first}"
        data.mkdir()
        for number in range(A_FOLDER):
            content = mutated(source, pictures)
            suffix = source.choice(SUFFIXES)
            (data / f"{number}.{suffix}").write_bytes(content)
            if number % 5 == 0:
                kind = source.choice(("txt", "json", "caption"))
                text = changed_bytes(source, TEXT)
                (data / f"{number}.{kind}").write_bytes(text)
        (data / "metadata.jsonl").write_bytes(changed_bytes(source, TEXT))
        toml = TOML if source.random() < 0.9 else changed_bytes(source, TOML)
        (data / "concept.toml").write_bytes(toml)
        words = ("tune", "--data", data, "--base", base, "--check", "--json")
        more = ("--class-word", "dog", "--out", folder / f"{first}.safetensors")
        code = type_in(app, *words, *more)
        shown = capsys.readouterr()
        assert code in (0, 2), (first, shown.err[-500:])
        if shown.out:
            found = json.loads(shown.out)
            named = {each["file"] for each in (*found["pictures"], *found["left_out"])}
            files = {
                path.name for path in data.iterdir() if path.suffix[1:] in SUFFIXES
            }
            assert files <= named, (first, files - named)
            judged += len(files)
    return judged


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


def test_mutated_folders_end_in_plain_words(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert attack(tmp_path, base, capsys, 300) >= 100


@pytest.mark.slow
def test_five_thousand_mutated_pictures_end_in_plain_words(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert attack(tmp_path, base, capsys, 6000) >= 5000
