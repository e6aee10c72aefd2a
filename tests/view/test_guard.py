"""Who is refused: each way by itself, on every address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("starlette", reason="the extra `view` is not installed")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from esegeta.view.guard import Guard
from tests.view.sessions import ADDRESS, PORT, TOKEN, Page

GOOD = {"X-Esegeta-Token": TOKEN}
PATHS = ("/", "/static/report.js", "/volumes/scan0", "/api/jobs/1", "/nowhere")


def client(port: int = PORT, base: str = ADDRESS) -> TestClient:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("in"))])
    return TestClient(Guard(app, port, TOKEN), base_url=base)


def test_requests_of_the_own_page_are_accepted() -> None:
    assert client().get("/", headers=GOOD).text == "in"
    assert client().get(f"/?token={TOKEN}").text == "in"
    assert client(base=f"http://localhost:{PORT}").get("/", headers=GOOD).text == "in"
    own = {**GOOD, "Origin": ADDRESS}
    assert client().get("/", headers=own).text == "in"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        f"127.0.0.1.evil.example:{PORT}",
        "127.0.0.1",
        f"127.0.0.1:{PORT + 1}",
        f"127.0.0.2:{PORT}",
        f"0.0.0.0:{PORT}",
        f"[::1]:{PORT}",
        f"127.0.0.1:{PORT}@evil.example",
        "",
    ],
)
def test_foreign_hosts_are_refused(host: str) -> None:
    answer = client().get("/", headers={**GOOD, "Host": host})
    assert answer.status_code == 403 and "Host" in answer.json()["message"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{PORT}",
        "http://127.0.0.1",
        f"http://127.0.0.1:{PORT + 1}",
        f"{ADDRESS}.evil.example",
        f"{ADDRESS}/",
        "",
    ],
)
def test_foreign_origins_are_refused(origin: str) -> None:
    answer = client().get("/", headers={**GOOD, "Origin": origin})
    assert answer.status_code == 403 and "Origin" in answer.json()["message"]


@pytest.mark.parametrize(
    "query", ["", "?token=", "?token=wrong", f"?token={TOKEN}x", f"?token={TOKEN[:-1]}", "?t=1"]
)
def test_missing_and_wrong_tokens_are_refused(query: str) -> None:
    answer = client().get(f"/{query}")
    assert answer.status_code == 403 and "token" in answer.json()["message"]
    assert TOKEN not in answer.text


def test_two_tokens_are_refused_even_where_one_is_right() -> None:
    assert client().get(f"/?token={TOKEN}&token=x").status_code == 403
    assert client().get("/?token=x", headers=GOOD).status_code == 403


def test_a_token_of_non_ascii_characters_is_refused() -> None:
    assert client().get("/?token=%C3%A9%FF").status_code == 403


def test_the_guard_passes_on_start_and_end_of_the_application() -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        told.append("begun")
        yield
        told.append("ended")

    with TestClient(Guard(Starlette(lifespan=lifespan), PORT, TOKEN)):
        assert told == ["begun"]
    assert told == ["begun", "ended"]


def test_requests_that_are_not_http_are_refused() -> None:
    app = Starlette(routes=[WebSocketRoute("/", lambda socket: socket.accept())])
    asked = TestClient(Guard(app, PORT, TOKEN), base_url=ADDRESS)
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        asked.websocket_connect(f"ws://127.0.0.1:{PORT}/?token={TOKEN}", headers=GOOD),
    ):
        pass
    told = refused.value
    assert (told.status_code, told.json()["message"]) == (403, "only HTTP is served")


@pytest.mark.parametrize("path", PATHS)
def test_every_address_needs_the_token(page: Page, path: str) -> None:
    del page.client.headers["X-Esegeta-Token"]
    assert page.client.get(path).status_code == 403


@pytest.mark.parametrize("path", ["/api/explain", "/api/keep", "/api/jobs/1/cancel"])
def test_requests_of_other_pages_are_refused(page: Page, path: str) -> None:
    answer = page.client.post(path, json={}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert page.runs == []


@pytest.mark.parametrize("path", PATHS)
def test_every_response_forbids_framing_caching_and_scripts(page: Page, path: str) -> None:
    headers = page.client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../session.py",
        "/static/..%2f..%2fsession.py",
        "/static/%2e%2e/write.py",
        "/static/%2e%2e%2fwrite.py",
        "/static/..%5cwrite.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/LICENSE.niivue.txt",
        "/static/report.js%00.txt",
        "/volumes/..%2f..%2fa.nii.gz",
        "/volumes/%2e%2e%2fa.nii.gz",
        "/volumes/a.nii.gz",
        "/a.nii.gz",
        "/etc/passwd",
        "//etc/passwd",
    ],
)
def test_no_path_reaches_the_file_system(page: Page, path: str) -> None:
    answer = page.client.get(page.client.base_url.join("/").copy_with(raw_path=path.encode()))
    assert answer.status_code == 404, answer.text[:200]
