"""Tuning from the studio's page: files dropped, judged, tuned, stopped, shared."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mos_client.cli import app as commands
from mos_client.store.outbox import Outbox
from mos_client.studio import Studio
from mos_model.concepts.concept import Concept
from tests.client.studio.conftest import Tab
from tests.client.studio.test_http import HOSTILE, files_of, png, png_header
from tests.support.typing_in import type_in

REX = "/api/tunings/rex"


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def rex(tab: Tab) -> Tab:
    """A tab with two pictures of <rex>, to be tuned in 3 steps."""
    tab.send("POST", "/api/tunings", {"name": "rex"})
    for number in (1, 2):
        tab.send("POST", f"{REX}/pictures?file={number}.png", picture(number))
    options = {"class_word": "cat", "steps": 3, "preview_every": 2}
    options |= {"further": ["augmentations=2", "batch_size=1"]}
    tab.send("PUT", f"{REX}/options", options)
    return tab


def run_ended(tab: Tab) -> Any:
    seen = 0
    while True:
        now = tab.get(f"/api/jobs?seen={seen}")
        seen, run = now["version"], now["tunings"]["rex"]
        if run["state"] not in ("queued", "running", "stopping"):
            return run


def test_dropped_pictures_are_judged_as_the_command_does(
    rex: Tab, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rex.send("POST", f"{REX}/pictures?file=again.png", picture(1))
    rex.send("POST", f"{REX}/pictures?file=small.png", picture(3, (12, 12)))
    check = rex.get(REX)["check"]
    words = ["tune", "--data", studio.project("rex").folder, "--check", "--json"]
    words += ["--base", studio.outline.name, "--out", tmp_path / "rex.safetensors"]
    words += ["--steps", 3, "--set", "augmentations=2", "--set", "batch_size=1"]
    assert type_in(commands, *words) == 0
    assert check == {
        key: value
        for key, value in json.loads(capsys.readouterr().out).items()
        if key != "sheet"
    } | {"concept_from": "--concept"}
    reasons = {note["file"]: note["reason"] for note in check["left_out"]}
    assert reasons["again.png"] == "the same picture as 1.png"
    assert "at least" in reasons["small.png"]


def test_captions_and_masks_are_the_folders_files(rex: Tab, studio: Studio) -> None:
    rex.send("PUT", f"{REX}/captions/1.png", {"caption": "a photo of {}\n in snow"})
    mask = Image.new("L", (48, 40))
    mask.paste(255, (10, 10, 40, 35))
    content = io.BytesIO()
    mask.save(content, "PNG")
    rex.send("PUT", f"{REX}/masks/1.png", content.getvalue())
    (first, second) = rex.get(REX)["check"]["pictures"]
    assert first["captions"] == ["a photo of <rex> in snow"]
    assert (first["mask"], second["mask"]) == (True, False)
    folder = studio.project("rex").folder
    assert (folder / "1.txt").read_text() == "a photo of {} in snow\n"
    assert (folder / "1.mask.png").is_file()
    with Image.open(io.BytesIO(rex.get(f"{REX}/masks/1.png"))) as shown:
        assert shown.getpixel((20, 20)) == 255
    rex.send("PUT", f"{REX}/masks/1.png", b"")
    rex.send("PUT", f"{REX}/captions/1.png", {"caption": " "})
    assert not (folder / "1.mask.png").exists()
    assert not (folder / "1.txt").exists()


def test_masks_and_captions_dropped_with_pictures_are_theirs(rex: Tab) -> None:
    rex.send("POST", f"{REX}/pictures?file=2.txt", b"{} on a sofa")
    rex.send("POST", f"{REX}/pictures?file=2.mask.png", png((48, 40)))
    second = rex.get(REX)["check"]["pictures"][1]
    assert second["caption_file"] == "2.txt"
    rex.send("DELETE", f"{REX}/pictures/2.png")
    assert [each["file"] for each in rex.get(REX)["check"]["pictures"]] == ["1.png"]
    assert rex.get(REX)["check"]["left_out"] == []


def test_crops_show_what_the_model_sees(rex: Tab) -> None:
    with Image.open(io.BytesIO(rex.get(f"{REX}/crops/1.png"))) as crops:
        assert crops.width >= 2 * 16


def test_concept_is_tuned_to_the_end_and_then_drawn(rex: Tab, studio: Studio) -> None:
    rex.send("POST", f"{REX}/start")
    run = run_ended(rex)
    assert (run["state"], run["step"]) == ("done", 3), run["error"]
    assert [step for step, _ in run["losses"]] == [1, 2, 3]
    assert run["previews"] == [2]
    assert rex.get(f"{REX}/previews/2").startswith(b"\x89PNG")
    told = rex.get(REX)
    assert told["result"]["class_word"] == "cat"
    assert "memorisation check" in told["result"]["sentence"]
    assert rex.get(f"{REX}/samples/0").startswith(b"\x89PNG")
    concept = Concept.from_bytes(studio.project("rex").concept.read_bytes())
    assert concept.facts.name == "rex"
    (card,) = rex.get("/api/concepts?model=own")["concepts"]
    assert (card["key"], card["state"]) == ("rex", "tuned here")
    job = rex.ended(rex.order(model="own"))
    assert job["state"] == "done", job["error"]


def test_stopped_run_goes_on_to_the_same_concept(rex: Tab, studio: Studio) -> None:
    project = studio.project("rex")
    rex.send("POST", f"{REX}/start")
    assert run_ended(rex)["state"] == "done"
    whole = project.concept.read_bytes()
    options = rex.get(REX)["options"] | {"preview_every": None}
    rex.send("PUT", f"{REX}/options", options | {"steps": 400})
    rex.send("POST", f"{REX}/start")
    seen, run = 0, {"step": 0}
    while not run["step"]:
        now = rex.get(f"/api/jobs?seen={seen}")
        seen, run = now["version"], now["tunings"]["rex"]
    rex.send("POST", f"{REX}/stop")
    assert run_ended(rex)["state"] == "stopped"
    assert rex.get(REX)["stopped"]
    assert project.concept.read_bytes() == whole
    status, reason = rex.refused("PUT", f"{REX}/options", options | {"steps": 0})
    assert (status, "1.." in reason) == (400, True)
    rex.send("POST", f"{REX}/start?resume=true")
    seen, run = 0, {"step": 0}
    while not run["step"]:
        now = rex.get(f"/api/jobs?seen={seen}")
        seen, run = now["version"], now["tunings"]["rex"]
    assert run["step"] > 1
    rex.send("POST", f"{REX}/stop")
    run_ended(rex)


def test_sharing_says_what_leaves_and_signs_exactly_that(
    rex: Tab, studio: Studio
) -> None:
    status, reason = rex.refused("POST", f"{REX}/share")
    assert (status, reason) == (404, "<rex> is not tuned yet")
    rex.send("POST", f"{REX}/start")
    run_ended(rex)
    told = rex.get(f"{REX}/leaving")
    assert told["says"]["class_word"] == "cat"
    assert told["shared"] == ""
    assert sum(each["bytes"] for each in told["tensors"]) < told["file_bytes"]
    assert Outbox(studio.home).entries() == ()
    entry = rex.send("POST", f"{REX}/share")
    assert entry["bytes"] == told["file_bytes"] + told["manifest_bytes"]
    (waiting,) = Outbox(studio.home).entries()
    assert waiting.path.read_bytes() == rex.get(f"{REX}/concept")
    assert rex.get(f"{REX}/leaving")["shared"] == "waiting"


def test_run_that_cannot_start_says_why(tab: Tab) -> None:
    tab.send("POST", "/api/tunings", {"name": "rex"})
    told = tab.get(REX)
    assert not told["check"]["ready"]
    status, reason = tab.refused("POST", f"{REX}/start")
    assert status == 400
    assert "no usable picture" in reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": 0}, "steps 0"),
        ({"steps": "3"}, "'steps'"),
        ({"further": ["abc=1"]}, "setting 'abc=1'"),
        ({"class_word": "xyzzyplugh<"}, "class word"),
        ({"licence": "x" * 5000}, "licence"),
        ({"nothing": 1}, "'nothing'"),
    ],
)
def test_options_that_cannot_be_are_refused_and_the_old_ones_kept(
    rex: Tab, options: Any, reason: str
) -> None:
    before = rex.get(REX)["options"]
    status, found = rex.refused("PUT", f"{REX}/options", options)
    assert status == 400
    assert reason in found
    assert rex.get(REX)["options"] == before


@pytest.mark.parametrize("name", ["", "..", "../x", "Rex dog", "a/b", "x" * 80])
def test_project_without_a_name_is_refused(tab: Tab, studio: Studio, name: str) -> None:
    before = files_of(studio)
    status, _ = tab.refused("POST", "/api/tunings", {"name": name})
    assert status == 400
    assert files_of(studio) == before


@pytest.mark.parametrize("name", [*HOSTILE, "..\\..\\x.png", ".png", "con.PNG"])
def test_hostile_file_name_stays_in_the_folder(
    rex: Tab, studio: Studio, name: str
) -> None:
    from urllib.parse import quote

    before = files_of(studio)
    path = f"{REX}/pictures?file={quote(name)}"
    kept = rex.send("POST", path, picture(9))["file"]
    assert files_of(studio) - before == {f"studio/tuning/rex/{kept}"}
    assert not kept.startswith(".")


def test_bomb_dropped_as_a_picture_is_refused(rex: Tab, studio: Studio) -> None:
    before = files_of(studio)
    path = f"{REX}/pictures?file=bomb.png"
    status, reason = rex.refused("POST", path, png_header(20_000, 10_000))
    assert status == 400
    assert "at most 40 megapixels" in reason
    assert files_of(studio) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_edits_nothing(rex: Tab, studio: Studio, name: str) -> None:
    from urllib.parse import quote

    before = files_of(studio)
    for method, part, content in (
        ("DELETE", "pictures", None),
        ("PUT", "masks", png()),
        ("PUT", "captions", {"caption": "x"}),
    ):
        status, _ = rex.refused(method, f"{REX}/{part}/{quote(name)}", content)
        assert status in (400, 404, 405)
    assert files_of(studio) == before


def test_two_tabs_start_one_run(rex: Tab) -> None:
    rex.send("PUT", f"{REX}/options", rex.get(REX)["options"] | {"steps": 400})
    rex.send("POST", f"{REX}/start")
    status, reason = rex.refused("POST", f"{REX}/start")
    assert (status, reason) == (400, "<rex> is being tuned already")
    rex.send("POST", f"{REX}/stop")
    run_ended(rex)
