"""Sessions on tiny experiments, and clients of their pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from esegeta.config import load_config
from esegeta.view import Session, open_session
from esegeta.view.jobs import Jobs
from esegeta.workflow import Silence, build_predictions
from tests.experiments import Lab

PORT, TOKEN = 8123, "the-token"
ADDRESS = f"http://127.0.0.1:{PORT}"


def session_of(lab: Lab, **options: Any) -> Session:
    """Open the session of an experiment, as the command does."""
    experiment = build_predictions(load_config(lab.write(), []))
    return open_session(experiment, Silence(), **options)


def question(session: Session, index: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    """Return what the page would send for a click on a voxel of the file."""
    place = list(session.scene.volume.source.grid.to_mm(index))
    usual = {"label": "liver", "method": "saliency", "about": "voxel", "place_mm": place}
    return {**usual, **changes}


@dataclass
class Page:
    """What a page does, without a browser.

    Args:
        session: that is served.
        jobs: where it is explained.
        client: of the application.
        runs: windows that went through the network, once each time some did.
    """

    session: Session
    jobs: Jobs
    client: Any
    runs: list[int] = field(default_factory=list)

    def ask(self, **changes: Any) -> dict[str, Any]:
        """Ask, wait, and return the answer."""
        return self.finish(self.client.post("/api/explain", json=changes))

    def finish(self, response: Any) -> dict[str, Any]:
        """Follow a job to its end."""
        assert response.status_code in (200, 202), response.text
        state = response.json()
        while state["state"] in ("queued", "running"):
            address = f"/api/jobs/{state['job']}?after={state['version']}"
            state = self.client.get(address).json()
        return state

    def volume(self, entry: dict[str, Any], place: int = 0) -> bytes:
        """Return a layer of an answer."""
        response = self.client.get(f"/volumes/{entry['layers'][place]['volume']}")
        assert response.status_code == 200
        return response.content


@contextmanager
def served(session: Session) -> Iterator[Page]:
    """Yield the page of a session; skip the test where the extra is missing."""
    pytest.importorskip("starlette", reason="the extra `view` is not installed")
    pytest.importorskip("httpx2", reason="httpx2 is not installed")
    from starlette.testclient import TestClient

    from esegeta.view.app import create_app

    jobs = Jobs()
    try:
        app = create_app(session, jobs, port=PORT, token=TOKEN)
        own = {"X-Esegeta-Token": TOKEN}
        page = Page(session, jobs, TestClient(app, base_url=ADDRESS, headers=own))
        relay = session.relay.listener
        assert relay is not None

        def counted(windows: int) -> None:
            page.runs.append(windows)
            relay(windows)

        session.relay.listener = counted
        yield page
    finally:
        jobs.close()
