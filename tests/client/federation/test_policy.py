"""What a centre may have tuned: only what the site's own people wrote down."""

from dataclasses import replace
from pathlib import Path

import pytest

from mos_client.errors import NotNowError, StoreError
from mos_client.federation.events import SITE_EVENTS
from mos_client.federation.node import Site
from mos_client.federation.orders import allowed_tuning
from mos_client.federation.policy import Policy
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.bases.base_files import read_inventory
from mos_protocol.messages import TuneAnswer, TuneAsk
from mos_protocol.signed.bundle import Bundle
from mos_protocol.signed.enrolment import Welcome
from mos_runtime.journal import JournalReader
from mos_server.registry.home import CentreHome
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures
from tests.support.sites import Centre, not_now
from tests.support.wire import ask, said

ASK = TuneAsk(steps=2, seed=0, concept="rex")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("base"))


@pytest.fixture
def home(tmp_path: Path, base: Path) -> SiteHome:
    """A site of a federation on that base, whose policy allows `rex`."""
    made = SiteHome.open(tmp_path / "private-folder", create=True)
    Centre.at(tmp_path / "centre", read_inventory(str(base))).enrol(made, "north")
    pictures = save_pictures(tmp_path / "pictures", side=16)
    (pictures / "concept.toml").write_text('class_word = "dog"')
    write(made, f'bases = ["{base}"]', pictures)
    return made


def write(home: SiteHome, more: str, pictures: Path) -> None:
    lines = ("[tune]", "max_steps = 3", more, "[tune.data]", f'rex = "{pictures}"')
    home.policy_path.write_text("\n".join(lines))


def told(home: SiteHome, wish: TuneAsk) -> TuneAnswer:
    key = CentreHome.open(home.folder.parent / "centre").signing_key()
    return TuneAnswer.from_dict(said(ask(home, key, "train.tune", wish.to_dict())))


def test_site_tunes_what_its_policy_allows_and_signs_it(home: SiteHome) -> None:
    answer = told(home, ASK)
    assert answer.error == ""
    assert [offer.concept for offer in answer.offers] == ["rex"]
    (entry,) = Outbox(home).entries()
    facts = Bundle.read(entry.path).verified(home.signing_key().public)
    assert (facts.site, facts.concept, facts.class_word) == ("north", "rex", "dog")
    events = JournalReader(home.flower / "journal.jsonl", SITE_EVENTS).new()
    started = [event for event in events if event.kind == "tune-started"]
    assert [event.facts["steps"] for event in started] == [2]


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (replace(ASK, steps=4), "4 steps; this site allows at most 3"),
        (replace(ASK, concept="luna"), "this site offers no concept 'luna'"),
        (replace(ASK, concept=""), "this site offers no concept ''"),
    ],
)
def test_refusal_tells_the_centre_its_rule_and_no_path(
    home: SiteHome, wish: TuneAsk, reason: str
) -> None:
    answer = told(home, wish)
    assert (answer.error, answer.later) == (reason, False)
    assert Outbox(home).entries() == ()
    (event,) = JournalReader(home.flower / "journal.jsonl", SITE_EVENTS).new()
    assert (event.kind, event.facts["reason"]) == ("tune-refused", reason)


def test_other_base_than_the_federations_is_not_tuned_on(
    home: SiteHome, tmp_path: Path
) -> None:
    write(home, f'bases = ["{save_tiny_sd(tmp_path / "other", seed=1)}"]', tmp_path)
    assert "does not allow the base" in told(home, ASK).error


def test_at_another_hour_the_centre_is_told_to_ask_again(
    home: SiteHome, base: Path, tmp_path: Path
) -> None:
    hours = f'hours = "{not_now()}"'
    write(home, f'bases = ["{base}"]\n{hours}', tmp_path)
    answer = told(home, ASK)
    assert "on request from" in answer.error
    assert answer.later
    assert Outbox(home).entries() == ()
    # What no hour would mend is said first.
    assert not told(home, replace(ASK, steps=4)).later


def test_site_without_a_policy_refuses_in_one_line(home: SiteHome) -> None:
    home.policy_path.unlink()
    answer = told(home, ASK)
    assert (answer.error, answer.later) == ("this site does not tune on request", False)
    assert Outbox(home).entries() == ()


def test_failure_of_the_tuning_itself_keeps_its_words_at_the_site(
    home: SiteHome, base: Path, tmp_path: Path
) -> None:
    write(home, f'bases = ["{base}"]', tmp_path / "nowhere")
    assert told(home, ASK).error == "DataError"


def test_steps_of_the_base_itself_are_cut_to_the_policys(home: SiteHome) -> None:
    welcome = Welcome.from_bytes(home.welcome_path.read_bytes())
    tuning = allowed_tuning(Site(home, None), replace(ASK, steps=0), welcome)
    assert (tuning.steps, tuning.max_steps) == (None, 3)


@pytest.mark.parametrize(
    ("hours", "hour", "allowed"),
    [
        ((22, 6), 23, True),
        ((22, 6), 5, True),
        ((22, 6), 6, False),
        ((8, 18), 8, True),
        ((8, 18), 18, False),
        ((0, 24), 0, True),
    ],
)
def test_hours_hold_also_over_midnight(
    hours: tuple[int, int], hour: int, *, allowed: bool
) -> None:
    policy = Policy(10, {"rex": Path("pictures")}, hours)
    if allowed:
        policy.check_hour(hour)
    else:
        with pytest.raises(NotNowError, match="on request from"):
            policy.check_hour(hour)


@pytest.mark.parametrize(
    "text",
    [
        *("[tune", "[tune]", "[tune]\nmax_steps = 0", "[tune]\nmax_steps = true"),
        *('[tune]\nmax_steps = 1\nhours = "8"', "[tune]\nmax_steps = 1\nstep = 2"),
        '[tune]\nmax_steps = 1\n[tune.data]\n"../x" = "y"',
        '[tune]\nmax_steps = 1\nbases = "mini"',
        *("[tune" + ".a" * 100_000 + "]", "a = " + "[" * 100_000),
    ],
)
def test_policy_that_cannot_be_read_allows_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(StoreError, match="not a policy"):
        Policy.read(path)


def test_without_a_policy_nothing_is_tuned(tmp_path: Path) -> None:
    assert Policy.read(tmp_path / "policy.toml") is None
    (tmp_path / "policy.toml").write_text("# nothing yet")
    assert Policy.read(tmp_path / "policy.toml") is None
