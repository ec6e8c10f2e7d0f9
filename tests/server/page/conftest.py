"""A centre, its page, and browsers that are let in to operate or to look on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mos_client.store.enrolment import make_request
from mos_client.store.home import SiteHome
from mos_pages import Keys
from mos_protocol.signed.bundle import Bundle
from mos_server.page import PageSettings, centre_app
from tests.support.bases import save_tiny_sd
from tests.support.sites import NOW, Centre, signed

HERE = "http://127.0.0.1:8643"


@dataclass(frozen=True)
class Tab:
    """One tab of a browser: what the page sends."""

    client: TestClient
    headers: dict[str, str]

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, name: str, **given: Any) -> Any:
        answer = self.client.post(f"/api/{name}", headers=self.headers, json=given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, name: str, given: Any) -> tuple[int, str]:
        """Status and reason of a deed that must be refused."""
        content = {"content": given} if isinstance(given, bytes) else {"json": given}
        answer = self.client.post(f"/api/{name}", headers=self.headers, **content)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["error"]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    """Two sites; north has brought a concept."""
    made = Centre.at(tmp_path / "centre")
    for name in ("north", "south"):
        made.enrol(SiteHome.open(tmp_path / name, create=True), name)
    assert send(made, tmp_path / "north").accepted
    return made


def send(centre: Centre, site: Path, bundle: Bundle | None = None) -> Any:
    """Have the centre judge a site's bundle; the verdict."""
    home = SiteHome(site)
    brought = bundle or signed(home, centre.inventory, site=site.name)
    sender = home.public_keys()[0].key_id
    return centre.desk.receive(brought.to_bytes(), now=NOW, sender_key_id=sender)


@pytest.fixture
def keys() -> Keys:
    return Keys("Centre", "mos-server page", port=8643, viewers=True)


@pytest.fixture
def client(centre: Centre, keys: Keys, base: str) -> TestClient:
    settings = PageSettings(base, "centre.example:9092")
    return TestClient(centre_app(centre.registry, keys, settings), base_url=HERE)


@pytest.fixture
def operator(client: TestClient, keys: Keys) -> Tab:
    assert client.get(f"/?token={keys.token}").status_code == 200
    return Tab(client, {"X-Page-Token": keys.page})


@pytest.fixture
def viewer(client: TestClient, keys: Keys) -> Tab:
    assert client.get(f"/?token={keys.viewing_token}").status_code == 200
    return Tab(client, {"X-Page-Token": keys.page})


def request_of(folder: Path, name: str) -> str:
    """What `mos-client enroll` writes at a new site."""
    home = SiteHome.open(folder / name, create=True)
    return make_request(home, name, now=NOW).decode()
