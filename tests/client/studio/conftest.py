"""A studio over a small base, and a browser that is let in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mos_client.studio import Studio
from mos_client.studio.app import studio_app
from mos_client.studio.uploads import UploadLimits
from mos_pages import Keys
from tests.support.bases import save_tiny_sd
from tests.support.homes import home_with_release

HERE = "http://127.0.0.1:8642"


@dataclass(frozen=True)
class Tab:
    """One tab of a browser: what the page sends."""

    client: TestClient
    headers: dict[str, str]

    def get(self, path: str) -> Any:
        return self._checked(self.client.get(path))

    def send(self, method: str, path: str, body: Any = None) -> Any:
        given: dict[str, Any] = {"headers": self.headers}
        given |= {"content": body} if isinstance(body, bytes) else {"json": body}
        return self._checked(self.client.request(method, path, **given))

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and reason of a request that must be refused."""
        given: dict[str, Any] = {"headers": self.headers}
        given |= {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = self.client.request(method, path, **given)
        assert answer.status_code >= 400
        return answer.status_code, str(answer.json()["error"])

    def order(self, **other: Any) -> str:
        """Order a picture of 16x16 pixels in 2 steps; the job's id."""
        wanted = {"layout": LAYOUT, "settings": {"steps": 2}, **other}
        return str(self.send("POST", "/api/jobs", wanted)["id"])

    def ended(self, id_: str) -> Any:
        """The job as it ended."""
        seen = 0
        while True:
            now = self.get(f"/api/jobs?seen={seen}")
            seen = now["version"]
            job = next(each for each in now["jobs"] if each["id"] == id_)
            if job["state"] not in ("queued", "running"):
                return job

    @staticmethod
    def _checked(answer: Any) -> Any:
        assert answer.status_code == 200, answer.text
        kind = answer.headers["content-type"]
        return answer.json() if kind == "application/json" else answer.content


LAYOUT: dict[str, Any] = {
    "prompt": "a cat",
    "negative_prompt": "",
    "width": 16,
    "height": 16,
    "regions": [{"prompt": "a photo of <rex>", "box": [0.0, 0.0, 0.5, 1.0]}],
    "controls": [],
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


@pytest.fixture
def studio(base: str, tmp_path: Path) -> Studio:
    concepts = [("north", "rex"), ("south", "miso")]
    home = home_with_release(tmp_path, base, concepts)
    return Studio(home.folder, base=base)


@pytest.fixture
def tab(studio: Studio) -> Iterator[Tab]:
    keys = Keys("Studio", "mos-client studio", port=8642)
    app = studio_app(studio, keys, limits=UploadLimits(max_bytes=2**20))
    with TestClient(app, base_url=HERE) as client:
        assert client.get(f"/?token={keys.token}").status_code == 200
        yield Tab(client, {"X-Page-Token": keys.page})
