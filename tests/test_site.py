"""The documentation builds, offline, and every link in it leads somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import esegeta
from scripts import api_page
from tests.browser import PATIENCE_MS, started

ROOT = Path(__file__).parents[1]
PAGES = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))


def test_the_api_page_lists_all_public_names() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page()
    named = {name for names in api_page.names_by_room().values() for name in names}
    assert named == set(esegeta.__all__)


def test_the_first_page_leads_to_every_other() -> None:
    linked = re.findall(r"\]\((\w+)\.md", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert set(PAGES) - {"index"} <= set(linked)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in page or f"{name}</" in page for name in ("Saliency", "load_model"))
    hosts = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', page)
    assert hosts == []  # read from the disk, it asks no other host


@pytest.mark.slow
def test_search_works_on_a_site_opened_from_disk(site: Path) -> None:
    with started() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        # What is typed before the index is read may be lost, as it is on a slow machine. The page
        # looks at the text when a key is released.
        for _ in range(PATIENCE_MS // 1000):
            page.fill(".md-search__input", "pointing game", timeout=PATIENCE_MS)
            page.press(".md-search__input", "End")
            page.wait_for_timeout(1000)
            if page.locator(".md-search-result__link").count():
                break
        assert "PointingGame" in page.inner_text(".md-search-result")
        assert not [url for url in asked if url.startswith("http")]


@pytest.mark.slow
@pytest.mark.parametrize("link", ["limit.md", "index.md#nowhere", "index.md"])
def test_a_broken_link_ends_the_build(link: str, tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    for folder in ("scripts", "docs"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "scripts" / "docs", tmp_path / "scripts")
    shutil.copy(ROOT / "docs" / "iframe-worker.js", tmp_path / "docs")
    settings, _, _ = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n[there]({link})\n", encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(["bash", "scripts/docs"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode == 0) == (link == "index.md"), done.stderr
    assert link == "index.md" or link.rpartition("#")[2] in done.stderr
