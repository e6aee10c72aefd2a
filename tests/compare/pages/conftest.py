"""A browser, and a report of a scan that lies obliquely, opened in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esegeta.compare.pages import write_report
from tests.browser import opened, started
from tests.builders import affine_of
from tests.compare.pages.results import FakeResults
from tests.compare.pages.shown import METHODS, SCORES


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    root = FakeResults(methods=METHODS, scores=SCORES, affine=affine_of("oblique")).write(folder)
    return write_report([root], folder / "out")


@pytest.fixture
def tab(browser: Any, report: Path) -> Iterator[Any]:
    with opened(browser, report) as page:
        yield page
