"""Who is let in to a page's server, and what every answer forbids."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from mos_pages import Guard, Keys, Page, body, new_app
from mos_pages.serving import PageError
from mos_runtime.errors import MosError

HERE = "http://127.0.0.1:8642"
MOST = 64


class Missing(MosError):
    pass


@pytest.fixture
def keys() -> Keys:
    return Keys("Studio", "mos-client studio", port=8642)


@pytest.fixture
def changes() -> list[bytes]:
    """What requests that were let in have changed."""
    return []


@pytest.fixture
def client(keys: Keys, changes: list[bytes], tmp_path: Path) -> TestClient:
    (tmp_path / "index.html").write_text("<meta content='{{token}}'>")

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = new_app(tmp_path, keys, lifespan=life, statuses={Missing: 404})

    @app.get("/api/secret")
    def secret() -> Any:
        return {"secret": 1}

    @app.get("/api/missing")
    def missing() -> Any:
        raise Missing("not here")

    @app.post("/api/change")
    async def change(request: Request) -> Any:
        changes.append(await body(request, MOST))
        return {}

    return TestClient(Guard(app, keys), base_url=HERE, follow_redirects=False)


def let_in(client: TestClient, keys: Keys) -> dict[str, str]:
    """Open the printed address as a browser does; headers that change something."""
    assert client.get(f"/?token={keys.token}").status_code == 200
    return {"X-Page-Token": keys.page}


def test_printed_address_opens_and_its_cookie_is_kept_from_scripts(
    client: TestClient, keys: Keys
) -> None:
    answer = client.get(f"/?token={keys.token}")
    assert keys.page in answer.text
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/api/secret").json() == {"secret": 1}


@pytest.mark.parametrize("address", ["/", "/?token=wrong", "/?token=", "/?token=ü"])
def test_wrong_token_gets_a_page_that_says_so(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 401
    assert "The token is wrong or old" in answer.text
    assert "mos-client studio" in answer.text
    assert not client.cookies


@pytest.mark.parametrize("path", ["/api/secret", "/page/index.html", "/nowhere"])
def test_nothing_but_the_design_is_served_without_a_session(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 401
    assert list(answer.json()) == ["error"]
    assert client.get("/shared/page.css").status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8642", "127.0.0.1:80", "127.0.0.1", ""])
def test_foreign_host_is_refused_as_dns_rebinding_would_send_it(
    client: TestClient, keys: Keys, host: str
) -> None:
    let_in(client, keys)
    assert client.get("/api/secret", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:80", "file://"]
)
def test_foreign_origin_is_refused_and_changes_nothing(
    client: TestClient, keys: Keys, changes: list[bytes], origin: str
) -> None:
    headers = let_in(client, keys) | {"Origin": origin}
    assert client.post("/api/change", headers=headers, content=b"x").status_code == 403
    assert not changes


def test_own_origin_with_the_pages_token_changes_something(
    client: TestClient, keys: Keys, changes: list[bytes]
) -> None:
    headers = let_in(client, keys) | {"Origin": HERE}
    assert client.post("/api/change", headers=headers, content=b"x").status_code == 200
    assert changes == [b"x"]


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_change_without_the_pages_token_is_refused(
    client: TestClient, keys: Keys, changes: list[bytes], token: str | None
) -> None:
    let_in(client, keys)
    headers = {} if token is None else {"X-Page-Token": token}
    assert client.post("/api/change", headers=headers, content=b"x").status_code == 403
    assert not changes


def test_no_other_site_is_allowed_by_cors(client: TestClient, keys: Keys) -> None:
    headers = let_in(client, keys) | {"Access-Control-Request-Method": "POST"}
    for answer in (client.get("/api/secret"), client.options("/", headers=headers)):
        assert not [name for name in answer.headers if name.startswith("access-con")]


def test_every_answer_forbids_other_servers(client: TestClient, keys: Keys) -> None:
    let_in(client, keys)
    for path in ("/", "/api/secret", "/shared/page.css", "/nowhere"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy


def test_body_over_the_limit_is_refused(
    client: TestClient, keys: Keys, changes: list[bytes]
) -> None:
    headers = let_in(client, keys)
    answer = client.post("/api/change", headers=headers, content=b"x" * (MOST + 1))
    assert answer.status_code == 413
    assert not changes


def test_errors_are_one_line_of_json(client: TestClient, keys: Keys) -> None:
    let_in(client, keys)
    answer = client.get("/api/missing")
    assert (answer.status_code, answer.json()) == (404, {"error": "not here"})


def test_password_lets_in_and_guesses_run_out(client: TestClient, keys: Keys) -> None:
    keys.password = "sesame"
    assert client.get("/").headers["location"] == "/login"
    for _ in range(5):
        answer = client.post("/login", data={"password": "open"})
        assert answer.status_code == 401
        assert "Wrong password" in answer.text
    assert client.post("/login", data={"password": "sesame"}).status_code == 429
    assert not client.cookies


def test_right_password_opens_the_page(client: TestClient, keys: Keys) -> None:
    keys.password = "sesame"
    answer = client.post("/login", data={"password": "sesame"})
    assert answer.headers["location"] == "/"
    assert client.get("/api/secret").status_code == 200


def test_no_password_is_the_empty_password(client: TestClient, keys: Keys) -> None:
    assert client.post("/login", data={"password": ""}).status_code == 401
    assert client.get("/api/secret").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "studio.example.org"])
def test_other_machines_need_a_password(host: str) -> None:
    with pytest.raises(PageError, match="pass --password"):
        Page("Studio", "mos-client studio", host, 0)
    assert Page("Studio", "mos-client studio", host, 0, "sesame").password


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_none(host: str) -> None:
    assert Page("Studio", "mos-client studio", host, 0).password is None


def view(client: TestClient, keys: Keys) -> str:
    """Open the address for those who only read; the page they get."""
    keys.viewers = True
    answer = client.get(f"/?token={keys.viewing_token}")
    assert answer.status_code == 200
    return answer.text


def test_viewers_read_and_their_page_has_no_token_to_change_anything_with(
    client: TestClient, keys: Keys
) -> None:
    assert view(client, keys) == "<meta content=''>"
    assert client.get("/api/secret").json() == {"secret": 1}
    assert client.get("/").text == "<meta content=''>"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_viewer_changes_nothing_even_with_the_pages_token(
    client: TestClient, keys: Keys, changes: list[bytes], method: str
) -> None:
    view(client, keys)
    headers = {"X-Page-Token": keys.page, "Origin": HERE}
    answer = client.request(method, "/api/change", headers=headers, content=b"x")
    assert answer.status_code == 403
    assert "only reads" in answer.json()["error"]
    assert not changes


def test_address_decides_what_a_browser_with_both_cookies_gets(
    client: TestClient, keys: Keys
) -> None:
    view(client, keys)
    let_in(client, keys)
    assert client.get("/").text == f"<meta content='{keys.page}'>"
    assert view(client, keys) == "<meta content=''>"


def test_without_viewers_their_token_and_cookie_open_nothing(
    client: TestClient, keys: Keys
) -> None:
    assert client.get(f"/?token={keys.viewing_token}").status_code == 401
    client.cookies.set(keys.viewing_cookie, keys.viewing_session)
    assert client.get("/api/secret").status_code == 401


def test_password_of_a_page_with_viewers_only_reads(
    client: TestClient, keys: Keys, changes: list[bytes]
) -> None:
    keys.viewers, keys.password = True, "sesame"
    assert client.post("/login", data={"password": "sesame"}).status_code == 303
    assert client.get("/").text == "<meta content=''>"
    headers = {"X-Page-Token": keys.page}
    assert client.post("/api/change", headers=headers, content=b"x").status_code == 403
    assert not changes
