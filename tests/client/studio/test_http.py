"""What the studio's server does for its page, and refuses."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from mos_client.store.releases import ReleaseStore
from mos_client.studio import Studio
from mos_client.studio.app import studio_app
from mos_client.studio.worker import Worker
from mos_model.layouts.layout_file import read_layout
from mos_pages import Keys
from tests.client.studio.conftest import HERE, LAYOUT, Tab
from tests.support.bases import save_tiny_sd
from tests.support.homes import home_with_release


def png(size: tuple[int, int] = (16, 16), colour: int = 255) -> bytes:
    content = io.BytesIO()
    Image.new("L", size, colour).save(content, "PNG")
    return content.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, as a bomb does, and holds no pixels."""
    facts = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + facts, b"IDAT" + zlib.compress(b""), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def files_of(studio: Studio) -> set[str]:
    folder = studio.home.folder
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_page_knows_the_base_and_the_releases_held(tab: Tab) -> None:
    about = tab.get("/api/studio")
    assert about["site"] == "north"
    assert about["releases"] == [1]
    assert about["settings"]["steps"] > 1
    assert "DDIMScheduler" in about["schedulers"]


def test_concepts_name_site_and_signer(tab: Tab) -> None:
    cards = tab.get("/api/concepts")["concepts"]
    assert [(card["key"], card["site"]) for card in cards] == [
        ("north/rex", "north"),
        ("south/miso", "south"),
    ]
    assert cards[0]["signer"] == "1" * 64
    assert tab.get("/api/concepts?model=own")["concepts"] == []


def test_release_changed_on_the_disk_is_named_and_not_used(
    tab: Tab, studio: Studio
) -> None:
    (whole,) = tab.get("/api/releases")["releases"]
    assert (whole["error"], len(whole["concepts"])) == ("", 2)
    path = ReleaseStore(studio.home).path("newest")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (broken,) = tab.get("/api/releases")["releases"]
    assert broken["version"] == 1
    assert "not the one that was signed" in broken["error"]
    job = tab.ended(tab.order())
    assert job["state"] == "failed"
    assert "not the one that was signed" in job["error"]


def test_thumbnail_is_drawn_once_and_kept(tab: Tab, studio: Studio) -> None:
    seen, card = 0, tab.get("/api/concepts")["concepts"][0]
    while card["thumbnail"] is None:
        seen = tab.get(f"/api/jobs?seen={seen}")["version"]
        card = tab.get("/api/concepts")["concepts"][0]
    first = tab.get(card["thumbnail"])
    assert first.startswith(b"\x89PNG")
    kept = list(studio.files.thumbnails.iterdir())
    tab.get("/api/concepts")
    assert [p.stat().st_mtime_ns for p in kept] == [
        p.stat().st_mtime_ns for p in studio.files.thumbnails.iterdir() if p in kept
    ]


def test_ordered_picture_comes_with_its_layout(tab: Tab) -> None:
    job = tab.ended(tab.order(seed=7))
    assert job["state"] == "done", job["error"]
    assert tab.get("/api/pictures")["pictures"] == job["pictures"]
    again = tab.get(f"/api/pictures/{job['pictures'][0]}/layout")
    assert again["layout"]["regions"][0]["prompt"] == "a photo of <rex>"
    assert again["layout"]["regions"][0]["box"] == [0.0, 0.0, 0.5, 1.0]
    assert (again["seed"], again["settings"]["steps"]) == (7, 2)
    assert again["model"]["version"] == 1


def test_picture_dropped_on_the_page_brings_its_layout(tab: Tab) -> None:
    job = tab.ended(tab.order(seed=7))
    content = tab.get(f"/api/pictures/{job['pictures'][0]}")
    assert tab.send("POST", "/api/open", content)["seed"] == 7


def test_batch_counts_its_seeds_up(tab: Tab) -> None:
    job = tab.ended(tab.order(seed=3, images=2))
    found = [tab.get(f"/api/pictures/{id_}/layout") for id_ in job["pictures"]]
    assert [each["seed"] for each in found] == [3, 4]


def test_masks_and_controls_come_back_with_the_layout(tab: Tab) -> None:
    mask = tab.send("POST", "/api/uploads?kind=mask", png())["name"]
    layout = {**LAYOUT, "regions": [{"prompt": "a cat", "mask": mask}]}
    job = tab.ended(tab.order(layout=layout))
    assert job["state"] == "done", job["error"]
    again = tab.get(f"/api/pictures/{job['pictures'][0]}/layout")["layout"]
    assert again["regions"][0]["mask"] == mask
    with Image.open(io.BytesIO(tab.get(f"/api/uploads/{mask}"))) as image:
        assert image.size == (16, 16)


def test_saved_layout_is_a_file_of_the_command_line(tab: Tab, studio: Studio) -> None:
    mask = tab.send("POST", "/api/uploads?kind=mask", png())["name"]
    regions = [*LAYOUT["regions"], {"prompt": "a dog", "mask": mask, "z": 1}]
    saved = tab.send("PUT", "/api/layouts/beach", {**LAYOUT, "regions": regions})
    layout = read_layout(Path(saved["file"]), size=(16, 16))
    assert [region.prompt for region in layout.regions] == ["a photo of <rex>", "a dog"]
    assert tab.get("/api/layouts")["names"] == ["beach"]
    assert tab.get("/api/layouts/beach")["layout"]["regions"] == regions


def test_deleted_picture_is_gone(tab: Tab) -> None:
    id_ = tab.ended(tab.order())["pictures"][0]
    tab.send("DELETE", f"/api/pictures/{id_}")
    assert tab.get("/api/pictures")["pictures"] == []
    status, reason = tab.refused("GET", f"/api/pictures/{id_}")
    assert status == 404
    assert "may have been deleted" in reason


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 10_000), (100_000, 2_000), (7_000, 7_000)]
)
def test_picture_of_too_many_pixels_is_refused_undecoded(
    tab: Tab, studio: Studio, width: int, height: int
) -> None:
    before = files_of(studio)
    for path in ("/api/uploads", "/api/open"):
        status, reason = tab.refused("POST", path, png_header(width, height))
        assert status == 400
        assert "at most 40 megapixels are taken. Scale it down" in reason
    assert files_of(studio) == before


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>", png()[:50]]
)
def test_broken_upload_is_refused(tab: Tab, studio: Studio, content: bytes) -> None:
    before = files_of(studio)
    status, reason = tab.refused("POST", "/api/uploads", content)
    assert status == 400
    assert "not a readable picture" in reason
    assert files_of(studio) == before


def test_upload_of_too_many_bytes_is_refused(tab: Tab, studio: Studio) -> None:
    before = files_of(studio)
    status, reason = tab.refused("POST", "/api/uploads", bytes(2**20 + 1))
    assert status == 413
    assert "more than 1 MiB" in reason
    assert files_of(studio) == before


HOSTILE = [
    "../../site.key",
    "..%2f..%2fsite.key",
    "%2e%2e",
    "a b",
    "a\x00b",
    "ä",
    "A" * 90,
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["pictures", "thumbnails", "uploads", "layouts"])
def test_hostile_file_name_reads_nothing(tab: Tab, name: str, kind: str) -> None:
    status, _ = tab.refused("GET", f"/api/{kind}/{name.replace(chr(0), '%00')}")
    assert status in (400, 404)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_name_writes_nothing(tab: Tab, studio: Studio, name: str) -> None:
    before = files_of(studio)
    path = f"/api/layouts/{name.replace(chr(0), '%00')}"
    status, _ = tab.refused("PUT", path, LAYOUT)
    assert status in (400, 404, 405)
    assert files_of(studio) == before


@pytest.mark.parametrize("mask", ["../site.key", "/etc/passwd", "0" * 64 + ".png", 3])
def test_layout_names_only_what_was_uploaded(tab: Tab, mask: Any) -> None:
    layout = {**LAYOUT, "regions": [{"prompt": "a cat", "mask": mask}]}
    for method, path, body in (
        ("POST", "/api/jobs", {"layout": layout}),
        ("PUT", "/api/layouts/beach", layout),
        ("POST", "/api/open", json.dumps(layout).encode()),
    ):
        status, reason = tab.refused(method, path, body)
        assert status == 400
        assert "upload" in reason


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ([], "an object was expected"),
        ({}, "'layout' is missing"),
        ({"layout": LAYOUT, "out": "/etc/x"}, "'out' is not known"),
        ({"layout": LAYOUT, "model": "../x"}, "a release's number"),
        ({"layout": LAYOUT, "images": 65}, "a whole number, 1..64"),
        ({"layout": LAYOUT, "seed": -2}, "a whole number, -1.."),
        ({"layout": LAYOUT, "settings": {"steps": 1001}}, "at most 1000"),
        ({"layout": LAYOUT, "settings": {"steps": True}}, "is no int"),
        ({"layout": LAYOUT, "settings": {"guidance": "7"}}, "is no float"),
        ({"layout": LAYOUT, "settings": {"eta": 1}}, "'eta' is not known"),
        ({"layout": {**LAYOUT, "width": 10**9}}, "size 1000000000x16"),
        ({"layout": {**LAYOUT, "regions": [{"prompt": "a"}]}}, "region 1"),
    ],
)
def test_order_that_is_none_is_refused_in_one_line(
    tab: Tab, order: Any, reason: str
) -> None:
    status, found = tab.refused("POST", "/api/jobs", order)
    assert status == 400
    assert reason in found
    assert "\n" not in found
    assert tab.get("/api/jobs")["jobs"] == []


def test_misspelt_concept_fails_with_its_reason(tab: Tab) -> None:
    layout = {**LAYOUT, "prompt": "a photo of <rexx>"}
    job = tab.ended(tab.order(layout=layout))
    assert job["state"] == "failed"
    assert "<rexx>" in job["error"]


def test_layout_of_another_base_is_refused(
    tab: Tab, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    id_ = tab.ended(tab.order())["pictures"][0]
    picture = tab.get(f"/api/pictures/{id_}")
    other = str(save_tiny_sd(tmp_path_factory.mktemp("other"), seed=1))
    home = home_with_release(tmp_path / "other", other)
    keys = Keys("Studio", "mos-client studio", port=8642)
    app = studio_app(Studio(home.folder, base=other), keys)
    with TestClient(app, base_url=HERE) as client:
        client.get(f"/?token={keys.token}")
        there = Tab(client, {"X-Page-Token": keys.page})
        status, reason = there.refused("POST", "/api/open", picture)
    assert status == 400
    assert "base" in reason


def test_picture_without_a_record_is_named(tab: Tab) -> None:
    status, reason = tab.refused("POST", "/api/open", png())
    assert status == 400
    assert "/tmp" not in reason


def test_two_tabs_see_the_same_queue(tab: Tab) -> None:
    other = Tab(tab.client, tab.headers)
    first, second = tab.order(seed=1), other.order(seed=2)
    assert tab.ended(second)["state"] == "done"
    assert other.ended(first)["state"] == "done"
    ids = [job["id"] for job in other.get("/api/jobs")["jobs"]]
    assert ids == [first, second]


def test_cancelled_picture_leaves_nothing(tab: Tab, studio: Studio) -> None:
    id_ = tab.order(settings={"steps": 900})
    tab.send("DELETE", f"/api/jobs/{id_}")
    job = tab.ended(id_)
    assert (job["state"], job["pictures"]) == ("cancelled", [])
    assert not list(studio.files.queue.glob("*"))
    assert tab.get("/api/pictures")["pictures"] == []


def test_picture_interrupted_by_a_killed_server_is_offered_again(
    studio: Studio, tab: Tab
) -> None:
    id_ = tab.order(settings={"steps": 900}, seed=5)
    seen, job = 0, {"step": 0}
    while not job["step"]:
        now = tab.get(f"/api/jobs?seen={seen}")
        seen, job = now["version"], now["jobs"][0]
    # What a killed server leaves is what is on the disk now; the next one reads it.
    after = Worker(Studio(studio.home.folder, base=studio.outline.name))
    (left,) = after.changes(0, 0.0)["jobs"]
    assert (left["id"], left["state"], left["order"]["seed"]) == (id_, "interrupted", 5)
    tab.send("DELETE", f"/api/jobs/{id_}")
    assert studio.files.gallery() == []


def test_damaged_queue_on_the_disk_does_not_keep_the_studio_from_starting(
    studio: Studio,
) -> None:
    studio.files.queue.mkdir(parents=True)
    (studio.files.queue / "1.json").write_text("{")
    (studio.files.queue / "2.json").write_text('{"layout": 3}')
    assert Worker(studio).changes(0, 0.0)["jobs"] == []


def test_preview_is_a_picture_while_it_runs(tab: Tab) -> None:
    id_ = tab.order(settings={"steps": 900}, preview_every=1)
    seen, job = 0, {"preview_step": 0}
    while not job["preview_step"]:
        now = tab.get(f"/api/jobs?seen={seen}")
        seen, job = now["version"], now["jobs"][0]
    assert tab.get(f"/api/jobs/{id_}/preview").startswith(b"\x89PNG")
    tab.send("DELETE", f"/api/jobs/{id_}")
    tab.ended(id_)
