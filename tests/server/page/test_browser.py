"""The page of a centre that really runs, in a real Chromium."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mos_client.store.enrolment import read_welcome
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_protocol.signed.bundle import Bundle
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from mos_server.registry.storage.tables import BundleRow, SiteRow
from tests.pages.browsing import chromium, cut_off, serious_faults, visits, width_of
from tests.server.page.centres import PastCentre
from tests.server.page.conftest import request_of, send
from tests.support.sites import Centre

pytestmark = pytest.mark.slow

TABS = ("overview", "sites", "bundles", "releases")
HOSTILE = "<img src=x onerror=alert(1)>"


@dataclass
class Served:
    """A centre, and `mos-server page` as a process in front of it."""

    folder: Path
    process: "subprocess.Popen[str]"

    @property
    def registry(self) -> Registry:
        return Registry(CentreHome.open(self.folder / "centre"))

    @property
    def addresses(self) -> dict[str, str]:
        """`operator` and `viewers`."""
        told = (self.folder / "centre" / "page" / "addresses").read_text()
        return dict(line.split() for line in told.splitlines())


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    words = ("--home", folder / "centre", "--base", folder / "base", "--port", 0)
    process = subprocess.Popen(
        [sys.executable, "-m", "mos_server", "page", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "addresses" in first, first + process.stderr.read()
    try:
        yield Served(folder, process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


@dataclass
class Visit:
    """A page in a browser, and all that it asked for."""

    page: Any
    requested: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, address: str, tab: str = "overview") -> Any:
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")
        self.page.click(f"#tab-{tab}")
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def past(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> PastCentre:
    return PastCentre.at(tmp_path_factory.mktemp("past"))


@pytest.fixture(scope="module")
def server(past: PastCentre) -> Iterator[Served]:
    """For those who only look."""
    with served(past.folder) as running:
        yield running


@pytest.fixture
def own(past: PastCentre, tmp_path: Path) -> Iterator[Served]:
    """A centre of one's own, to change."""
    folder = shutil.copytree(past.folder, tmp_path / "own")
    shutil.rmtree(folder / "centre" / "page", ignore_errors=True)
    with served(folder) as running:
        yield running


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    with visits(browser, Visit) as made:
        yield made


def choose(page: Any, selector: str, content: str) -> None:
    """Give a file to what asks for one."""
    with page.expect_file_chooser() as chooser:
        page.click(selector)
    file = {"name": "a.request", "mimeType": "text/plain", "buffer": content.encode()}
    chooser.value.set_files([file])


def press_until(page: Any, key: str, condition: str, most: int = 60) -> None:
    """Press a key until what has the focus fits a condition."""
    for _ in range(most):
        if page.evaluate(f"document.activeElement?.matches({condition!r})"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {condition}")


@pytest.mark.parametrize("who", ["operator", "viewers"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_tab_has_a_serious_fault_of_access_or_is_too_wide(
    visit: Callable[..., Visit], server: Served, who: str, scheme: str, width: int
) -> None:
    page = visit(width, 900, color_scheme=scheme).open(server.addresses[who])
    for tab in TABS:
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#page-{tab} >> :visible >> nth=3")
        assert serious_faults(page) == [], tab
        assert width_of(page) <= width, tab
        assert cut_off(page) == [], tab
        words = set(page.inner_text(f"#page-{tab}").split())
        assert not words & {"null", "undefined", "NaN"}, tab
    page.click("#tab-bundles")
    page.click("#held button:has-text('Pictures')")
    page.wait_for_selector("#evidence[open] img")
    assert serious_faults(page) == []


def test_what_happened_is_shown(visit: Callable[..., Visit], server: Served) -> None:
    page = visit().open(server.addresses["operator"], "sites")
    rows = page.locator("#sites tbody tr")
    assert rows.count() == 3
    assert "revoked" in rows.nth(0).inner_text()
    assert "away" in rows.nth(1).inner_text()
    page.click("#tab-bundles")
    assert "moved" in page.inner_text("#held")
    page.click("#tab-releases")
    assert page.locator("#releases article").count() == 2
    assert page.locator("#charts svg polyline").count() == 3
    figures = page.locator("#charts details")
    figures.locator("summary").click()
    assert figures.locator("tbody tr").count() == 2


def test_figures_are_those_of_the_fusion_report(
    visit: Callable[..., Visit], server: Served
) -> None:
    report = server.registry.published.report(2)
    page = visit().open(server.addresses["viewers"], "releases")
    shown = page.locator("#releases article").first.inner_text()
    for name, one in report["concepts"].items():
        assert name in shown
        for figure in ("kept", "kept_alone"):
            assert f"{100 * one[figure]:.1f}%" in shown
    with page.expect_download() as download:
        page.click("#releases a >> nth=0")
    text = Path(download.value.path()).read_text("utf-8")
    assert download.value.suggested_filename == "release-2-report.html"
    assert "north/rex" in text


def test_pictures_before_and_after_are_shown(
    visit: Callable[..., Visit], server: Served
) -> None:
    page = visit().open(server.addresses["viewers"], "bundles")
    page.click("#held button:has-text('Pictures')")
    page.wait_for_selector("#evidence[open] img")
    first = page.locator("#evidence .triple").first
    assert first.locator("figcaption").all_inner_texts() == [
        "The base alone",
        "Release without it",
        "Release with it",
    ]
    # `decode` fails where a picture does not come, or is none.
    page.evaluate(
        "Promise.all([...document.querySelectorAll('#evidence img')]"
        ".map(one => one.decode()))"
    )


def test_refused_bundle_appears_with_its_reason_while_the_page_is_open(
    visit: Callable[..., Visit], own: Served
) -> None:
    page = visit().open(own.addresses["operator"], "bundles")
    before = page.locator("#refused tbody tr").count()
    home = SiteHome(own.folder / "south")
    entry = Outbox(home).entries()[0]
    verdict = send(
        Centre.at(own.folder / "centre"), home.folder, Bundle.read(entry.path)
    )
    page.locator("#refused tbody tr").nth(before).wait_for()
    row = page.locator("#refused tbody tr").first.inner_text()
    reason, _, words = verdict.reason.partition(": ")
    assert reason in row
    assert words in row
    assert "south" in row


def test_dropped_request_gives_a_welcome_that_join_takes(
    visit: Callable[..., Visit], own: Served, tmp_path: Path
) -> None:
    page = visit().open(own.addresses["operator"], "sites")
    choose(page, "#admit-drop", request_of(tmp_path, "west"))
    page.wait_for_selector("#admit-who:has-text('west asks')")
    page.fill("#admit-address", "centre.example:9092")
    page.click("#admit")
    with page.expect_download() as download:
        page.click("#welcome")
    assert download.value.suggested_filename == "west.welcome"
    welcome = tmp_path / "west.welcome"
    download.value.save_as(welcome)
    # As `mos-client join` takes it up, and reads it back.
    from mos_client.store.enrolment import keep_welcome

    home = SiteHome(tmp_path / "west")
    keep_welcome(home, welcome.read_bytes())
    assert read_welcome(home).address == "centre.example:9092"  # type: ignore[union-attr]
    page.wait_for_selector("#sites td:has-text('west')")


def test_file_that_is_no_request_is_named_and_changes_nothing(
    visit: Callable[..., Visit], own: Served
) -> None:
    page = visit().open(own.addresses["operator"], "sites")
    choose(page, "#admit-drop", HOSTILE)
    page.wait_for_selector("#banner:has-text('enrolment request')")
    assert not page.is_visible("#admit-form")
    assert len(own.registry.membership.sites()) == 3


def test_viewers_see_no_button_and_are_refused_by_the_server(
    visit: Callable[..., Visit], own: Served
) -> None:
    page = visit().open(own.addresses["viewers"], "sites")
    assert page.inner_text("#access") == "looking on"
    seen = set()
    for tab in TABS:
        page.click(f"#tab-{tab}")
        buttons = page.locator("main button:visible, main form:visible")
        seen |= set(buttons.all_inner_texts())
    assert seen == {"Pictures"}
    status = page.evaluate(
        "fetch('/api/revoke', {method: 'POST', body: '{\"site\": \"north\"}'})"
        ".then(answer => answer.status)"
    )
    assert status == 403
    north = [one for one in own.registry.membership.sites() if one.name == "north"]
    assert [one.revoked for one in north] == [False]


def test_wrong_token_is_named(visit: Callable[..., Visit], server: Served) -> None:
    page = visit().page
    page.goto(server.addresses["operator"].split("=")[0] + "=wrong")
    told = page.inner_text("[role=alert]")
    assert "The token is wrong or old" in told
    assert "mos-server page" in told


def test_two_tabs_see_what_one_of_them_does(
    visit: Callable[..., Visit], own: Served
) -> None:
    one = visit()
    page = one.open(own.addresses["operator"], "bundles")
    other = page.context.new_page()
    other.goto(own.addresses["operator"].split("?")[0])
    other.wait_for_selector("body[data-ready]")
    other.click("#tab-bundles")
    for tab in (page, other):
        tab.wait_for_selector("#accepted tr:has-text('north/rex') button")
    page.click("#accepted tr:has-text('north/rex') button:has-text('Withdraw')")
    page.click("#ask-yes")
    for tab in (page, other):
        tab.wait_for_selector(
            "#accepted tr:has-text('north/rex'):has-text('withdrawn')"
        )
    # What the other tab still offers may be too late: then it is told so.
    other.evaluate(
        "import('/shared/api.js').then(api => api.post('/api/withdraw',"
        "{site: 'north', concept: 'rex'}).catch(api.problem))"
    )
    other.wait_for_selector("#banner:has-text('no such concept is current')")


def test_deed_that_is_not_confirmed_is_not_done(
    visit: Callable[..., Visit], own: Served
) -> None:
    page = visit().open(own.addresses["operator"], "sites")
    leaving: tuple[Callable[[], None], ...] = (
        lambda: page.click("#ask-no"),
        lambda: page.keyboard.press("Escape"),
    )
    for leave in leaving:
        page.click("#sites tr:has-text('north') button")
        page.wait_for_selector("#ask[open]")
        leave()
        page.wait_for_selector("#ask:not([open])", state="attached")
    assert [one.revoked for one in own.registry.membership.sites()] == [
        True,
        False,
        False,
    ]


def test_keyboard_alone_admits_revokes_releases_and_orders(
    visit: Callable[..., Visit], own: Served, tmp_path: Path
) -> None:
    page = visit().open(own.addresses["operator"])
    keys = page.keyboard
    press_until(page, "Tab", "#tab-overview")
    keys.press("ArrowRight")
    press_until(page, "Tab", "#admit-drop")
    with page.expect_file_chooser() as chooser:
        keys.press("Enter")
    content = request_of(tmp_path, "west").encode()
    file = {"name": "w.request", "mimeType": "text/plain", "buffer": content}
    chooser.value.set_files([file])
    page.wait_for_selector("#admit-form:not([hidden])")
    press_until(page, "Tab", "#admit")
    keys.press("Enter")
    page.wait_for_selector("#welcome:focus")
    with page.expect_download():
        keys.press("Enter")
    press_until(page, "Tab", "[aria-label='Revoke: north']")
    keys.press("Enter")
    press_until(page, "Tab", "#ask-check")
    keys.press("Space")
    press_until(page, "Shift+Tab", "#ask-yes")
    keys.press("Enter")
    page.wait_for_selector("#sites tr:has-text('north') :text('concepts kept')")
    press_until(page, "Tab", "#tune-concept")
    keys.type("rex")
    press_until(page, "Tab", "#tune")
    keys.press("Enter")
    page.wait_for_selector("#orders td:has-text('<rex>')")
    press_until(page, "Shift+Tab", "#tab-sites")
    keys.press("ArrowRight")
    press_until(page, "Tab", "[aria-label='Release: south/evil']")
    keys.press("Enter")
    press_until(page, "Shift+Tab", "#ask-yes")
    keys.press("Enter")
    page.wait_for_selector("#held:has-text('Nothing is held')")
    registry = own.registry
    assert sorted(one.site for one in registry.orders.all()) == ["south", "west"]
    assert [one.concept for one in registry.bundles.current() if one.exempt] == ["evil"]


def test_hostile_names_are_shown_as_text(
    visit: Callable[..., Visit], own: Served
) -> None:
    """Admission takes no such names; should one come in all the same, it is text."""
    registry = own.registry
    with Session(registry.bundles._database._engine) as session, session.begin():
        for site in session.query(SiteRow).filter_by(name="south"):
            site.name = HOSTILE
        for row in session.query(BundleRow):
            row.class_word = HOSTILE
    registry.refusals.add(b"x", HOSTILE, HOSTILE, 1, sender=HOSTILE, digest=HOSTILE)
    one = visit()
    page = one.open(own.addresses["operator"], "sites")
    page.on("dialog", lambda dialog: one.problems.append(dialog.message))
    assert HOSTILE in page.inner_text("#sites")
    page.click(f"[aria-label='Revoke: {HOSTILE}']")
    assert HOSTILE in page.inner_text("#ask-title")
    page.click("#ask-no")
    page.click("#tab-bundles")
    assert page.inner_text("#accepted").count(HOSTILE) > 4
    assert HOSTILE in page.inner_text("#refused")
    assert page.locator("main img").count() == 0


def test_page_says_when_its_server_is_gone_and_when_it_is_back(
    visit: Callable[..., Visit], own: Served
) -> None:
    one = visit()
    page = one.open(own.addresses["operator"], "sites")
    own.process.kill()
    own.process.wait()
    page.wait_for_selector("#banner:has-text('The server does not answer')")
    assert page.locator("#sites tbody tr").count() == 3
