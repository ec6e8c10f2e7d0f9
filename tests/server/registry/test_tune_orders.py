"""What a centre has tuned at its sites: their policies decide, and it is told why."""

import json
from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_model.bases.base_files import read_inventory
from mos_runtime.journal import Journal
from mos_server.cli import app
from mos_server.federation.carrier import ConversationSettings
from mos_server.federation.conversation import Conversation
from mos_server.serving.status import centre_status
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures
from tests.support.sites import Centre, not_now
from tests.support.typing_in import type_in
from tests.support.wire import Clock, NoFusion, Wire, events_of

SETTINGS = ConversationSettings(wait_seconds=0.0, settle_seconds=float("inf"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("base"))


class Orders:
    """A centre with one site, a policy there, and the conversation between them."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.centre = Centre.at(folder / "centre", read_inventory(str(base)))
        self.home = SiteHome.open(folder / "north", create=True)
        self.centre.enrol(self.home, "north")
        self.pictures = save_pictures(folder / "pictures", side=16)
        (self.pictures / "concept.toml").write_text('class_word = "dog"')
        self.base, self.clock, self.wire = base, Clock(), Wire({1: self.home})
        self.journal = folder / "journal.jsonl"
        self.restart()

    def restart(self) -> None:
        """The centre's process begins anew; only what is on the disk is left."""
        self.conversation = Conversation(
            self.centre.registry,
            self.centre.desk,
            self.wire,
            NoFusion(),
            SETTINGS,
            Journal(self.journal),
            clock=self.clock,
        )

    def policy(self, *lines: str, base: Path | None = None) -> None:
        bases = f'bases = ["{base or self.base}"]'
        data = ("[tune.data]", f'rex = "{self.pictures}"')
        words = ("[tune]", "max_steps = 2", bases, *lines, *data)
        self.home.policy_path.write_text("\n".join(words))

    def order(self, *words: object) -> None:
        line = ("tune", "--concept", "rex", "--site", "north", *words)
        assert type_in(app, *line, "--home", self.centre.home.folder) == 0

    def steps(self, count: int = 6, seconds: float = 3.0) -> None:
        for _ in range(count):
            self.conversation.step()
            self.clock.now += seconds

    def asked(self) -> int:
        return [action for _, action in self.wire.actions].count("train.tune")

    def state(self) -> str:
        status = centre_status(self.centre.home, self.centre.registry)
        (one,) = status["tuning"]
        return str(one["state"])


@pytest.fixture
def orders(tmp_path: Path, base: Path) -> Orders:
    return Orders(tmp_path, base)


def test_allowed_order_is_tuned_signed_and_brought(orders: Orders) -> None:
    orders.policy()
    orders.order("--steps", 2)
    orders.restart()
    orders.steps()
    (bundle,) = orders.centre.registry.bundles.current()
    assert (bundle.site, bundle.concept) == ("north", "rex")
    assert orders.asked() == 1
    assert orders.state() == "tuned"


def test_order_beyond_the_policys_steps_is_refused_for_good(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "3 steps; this site allows at most 2"
    orders.policy()
    orders.order("--steps", 3)
    orders.steps(20, seconds=100.0)
    assert orders.asked() == 1
    assert orders.state() == f"refused: {reason}"
    assert orders.centre.registry.bundles.current() == ()
    capsys.readouterr()
    assert type_in(app, "status", "--home", orders.centre.home.folder) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert f"north/rex: refused: {reason}" in shown


def test_order_on_a_base_that_the_policy_does_not_name_is_refused(
    orders: Orders, tmp_path: Path
) -> None:
    orders.policy(base=save_tiny_sd(tmp_path / "other", seed=1))
    orders.order()
    orders.steps()
    assert "does not allow the base" in orders.state()


def test_order_to_a_site_without_a_policy_is_refused(orders: Orders) -> None:
    orders.order()
    orders.steps()
    assert orders.state() == "refused: this site does not tune on request"


def test_order_outside_the_policys_hours_stands_and_is_given_again(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    orders.policy(f'hours = "{not_now()}"')
    orders.order("--steps", 1)
    orders.steps(12, seconds=10.0)
    assert orders.asked() == 1
    assert "asked for; not now: this site tunes on request from" in orders.state()
    orders.clock.now += SETTINGS.ask_again_seconds
    orders.steps(4)
    assert orders.asked() == 2
    assert events_of(orders.journal).count("tune-postponed") == 1
    capsys.readouterr()
    assert type_in(app, "tune", "--home", orders.centre.home.folder, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["orders"]
    assert told["answered"] == 0
    # The hour has come.
    orders.policy()
    orders.clock.now += SETTINGS.ask_again_seconds
    orders.steps()
    assert orders.state() == "tuned"
    assert len(orders.centre.registry.bundles.current()) == 1


def test_order_whose_site_goes_away_meanwhile_is_given_again(orders: Orders) -> None:
    orders.policy()
    orders.order("--steps", 1)
    orders.wire.silent.add(1)
    orders.conversation.step()
    orders.wire.silent.clear()
    orders.wire.homes = {2: orders.wire.homes[1]}
    orders.steps()
    assert orders.state() == "tuned"


def test_newer_order_stands_in_the_status_for_an_older_one(orders: Orders) -> None:
    orders.order()
    orders.steps()
    orders.policy()
    orders.order("--steps", 1)
    assert orders.state() == "asked for"
    status = centre_status(orders.centre.home, orders.centre.registry)
    assert status["orders"] == 1
