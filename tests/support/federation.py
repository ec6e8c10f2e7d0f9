"""A whole federation of real processes on this machine, and what must hold of it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mos_client.cli import app as client_app
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_model.bases.base_files import read_inventory
from mos_model.concepts.concept import FusedModel
from mos_protocol.rules.at_rest import release_as_signed
from mos_runtime.flower_env import free_port
from mos_server.cli import app as server_app
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.programs import PATIENCE_SECONDS, Program
from tests.support.typing_in import type_in

QUICK = {"fusion": {"steps": 1, "scenes": [""], "prior_subjects": ["dog"]}}


@dataclass
class Federation:
    """A centre and its sites, as commands that run; TLS and node keys."""

    folder: Path
    address: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    programs: dict[str, Program] = field(default_factory=dict)
    """`centre`, and every site that is joined now."""

    ended: list[Program] = field(default_factory=list)
    concepts: list[str] = field(default_factory=list)
    """All that were put into an outbox, and must be fused."""

    @staticmethod
    @contextmanager
    def running(folder: Path) -> Iterator["Federation"]:
        """A centre that listens; all ends with the block, after a failure too."""
        found = Federation(folder)
        base = save_tiny_sd(found.base)
        (base / "mos_defaults.json").write_text(json.dumps(QUICK))
        try:
            found.serve()
            yield found
        finally:
            found.close()

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def centre_home(self) -> Path:
        return self.folder / "centre"

    def home(self, site: str) -> SiteHome:
        return SiteHome.open(self.folder / site)

    @property
    def sites(self) -> list[str]:
        """Those that are joined now."""
        return [name for name in self.programs if name != "centre"]

    def serve(self) -> Program:
        """Start the centre, and wait until it listens."""
        words = ("serve", "--home", self.centre_home, "--address", self.address)
        # Random numbers on a random base: no gate has limits for those.
        gate = ("--gate", "off", "--longest-poll", 4)
        options = ("--base", self.base, "--fuse-after", 0, *gate)
        self.programs["centre"] = Program("server", *words, *options)
        self.programs["centre"].wait_for("listening")
        return self.programs["centre"]

    def admit(self, site: str, address: str = "") -> None:
        """Enrol a site by the two files; at another address than the centre's own."""
        request, welcome = self.folder / f"{site}.request", self.welcome(site)
        home = ("--home", self.folder / site)
        enroll = ("enroll", "--name", site, *home, "--out", request)
        assert type_in(client_app, *enroll) == 0
        where = ("--home", self.centre_home, "--address", address or self.address)
        options = (*where, "--base", self.base)
        assert type_in(server_app, "admit", request, "--out", welcome, *options) == 0

    def welcome(self, site: str) -> Path:
        return self.folder / f"{site}.welcome"

    def join(self, site: str, **environment: str) -> Program:
        """Start a site that was admitted."""
        words = ("join", self.welcome(site), "--home", self.folder / site)
        self.programs[site] = Program("client", *words, **environment)
        return self.programs[site]

    def put(
        self, site: str, concept: str, *, rank: int = 4, now: int | None = None
    ) -> None:
        """Sign a concept of random numbers into a site's outbox."""
        inventory = read_inventory(str(self.base))
        seed = len(self.concepts)
        made = random_concept(inventory, concept, seed=seed, rank=rank, strength=0.02)
        Outbox(self.home(site)).put(made.to_bytes(), site, now)
        self.concepts = sorted({*self.concepts, f"{site}/{concept}"})

    def lose(self, name: str) -> None:
        """SIGKILL a command of ours alone, and note that it is gone."""
        program = self.programs.pop(name)
        program.lose()
        self.ended.append(program)

    def end(self, name: str) -> None:
        """SIGTERM; it must end well."""
        program = self.programs.pop(name)
        assert program.end() == 0
        self.ended.append(program)

    def part(self, name: str, word: str) -> psutil.Process:
        """The one process of a command's family whose command line has a word.

        It may be about to start.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            for one in self.programs[name].family():
                if word in " ".join(_words(one)):
                    return one
            time.sleep(0.05)
        raise AssertionError([_words(one) for one in self.programs[name].family()])

    def settle(self) -> None:
        """Wait until every joined site has the release of all concepts."""
        for site in self.sites:
            program = self.programs[site]
            while self._held(site) != self.concepts:
                program.wait_for("release")

    def assert_all_is_well(self) -> None:
        """Every concept once, the release right and signed, every joined site on it."""
        home = CentreHome.open(self.centre_home)
        registry, key = Registry(home), home.signing_key().public
        bundles = registry.bundles.current()
        assert [f"{b.site}/{b.concept}" for b in bundles] == self.concepts
        for bundle in bundles:
            assert registry.bundles.content(bundle.digest)
        previous, versions = "", list[int]()
        for record in registry.published.all():
            facts = release_as_signed(registry.published.read(record.version), key)
            assert facts.previous_sha256 == previous
            previous, versions = record.digest, [*versions, record.version]
        assert versions == list(range(1, len(versions) + 1))
        newest = registry.published.newest()
        assert newest is not None
        assert newest.bundles == {bundle.digest for bundle in bundles}
        model = FusedModel.from_bytes(registry.published.read(newest.version).payload)
        assert [concept.key for concept in model.concepts] == self.concepts
        for site in self.sites:
            held = ReleaseStore(self.home(site)).held()
            assert held is not None
            assert (held.version, held.digest) == (newest.version, newest.digest)
            outbox = Outbox(self.home(site))
            sent = [f"{site}/{entry.concept}" for entry in outbox.sent()]
            assert sorted(sent) == [c for c in self.concepts if c.startswith(site)]

    def _held(self, site: str) -> list[str]:
        store = ReleaseStore(self.home(site))
        if store.held() is None:
            return []
        key = CentreHome.open(self.centre_home).signing_key().public
        facts = store.read().verified(key)
        return [concept.key for concept in facts.concepts]

    def close(self) -> None:
        """End whatever is still there, after a failure too."""
        for program in (*self.programs.values(), *self.ended):
            program.kill()


def _words(process: psutil.Process) -> list[Any]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
