"""The live page in a browser: a click is explained where it was made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import started, wait_until
from tests.experiments import save_image, unet_lab
from tests.view.sessions import session_of

pytestmark = pytest.mark.slow

SHAPE = (24, 20, 16)


@pytest.fixture
def address(tmp_path: Path, quick: None) -> Iterator[str]:
    """Serve a session on a port of this machine, as the command does."""
    pytest.importorskip("starlette", reason="the extra `view` is not installed")
    uvicorn = pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
    from esegeta.view import server

    lab = unet_lab(tmp_path, shape=SHAPE)
    truth = np.zeros(SHAPE, np.uint8)
    truth[4:12, 4:12, 4:12] = 1
    save_image(tmp_path / "truth.nii.gz", truth)
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    lab.keys["labels"] = {1: '</script><b title="x">liver & more'}
    del lab.keys["targets"], lab.keys["methods"]
    said: list[str] = []
    told, servers = threading.Event(), list[Any]()

    class Server(uvicorn.Server):  # type: ignore[name-defined, misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            servers.append(self)

    def say(text: str) -> None:
        said.append(text)
        told.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.uvicorn, "Server", Server)
        thread = threading.Thread(target=server.serve, args=(session_of(lab), say))
        thread.start()
        assert told.wait(30)
        yield said[0].removeprefix("open ")
        servers[0].should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def idle(tab: Any) -> None:
    wait_until(tab, "document.body.dataset.work === 'false'")


def click(tab: Any, across: float, down: float) -> None:
    box = tab.locator("#left canvas").bounding_box()
    tab.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def coloured(tab: Any) -> int:
    """Count pixels of the canvas that are red or blue."""
    return int(
        tab.evaluate(
            """() => {
              const nv = window.esegeta.viewer().nv;
              nv.drawScene();
              const gl = nv.gl;
              const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
              const pixels = new Uint8Array(4 * w * h);
              gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
              let count = 0;
              for (let i = 0; i < pixels.length; i += 4) {
                const [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]];
                if (r - g > 60 || b - r > 60) count += 1;
              }
              return count;
            }"""
        )
    )


def test_a_click_shows_a_map_and_labels_and_methods_can_be_chosen(address: str) -> None:
    label = '</script><b title="x">liver & more'
    with started() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        faults: list[str] = []
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda one: one.type == "error" and faults.append(one.text))
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(address, wait_until="commit")
        tab.wait_for_selector("body[data-live]", state="attached")
        wait_until(tab, "document.body.dataset.shown === 'none'")
        tab.select_option("#outline", "none")
        wait_until(tab, "window.esegeta.viewer().nv.opts.atlasOutline === 0")
        assert coloured(tab) < 100  # letters and the cross-hair are neither

        assert not tab.locator("#high").is_visible()  # of no map

        tab.select_option("#ask-label", label)
        click(tab, 0.3, 0.55)
        idle(tab)
        assert tab.evaluate("document.body.dataset.shown") == "a1"
        assert f"Why {label} at voxel" in tab.locator("#ask-says").inner_text()
        place = tab.evaluate("window.esegeta.viewer().position()")
        focus = tab.evaluate("window.esegeta.viewer().shown.entry.focus")
        assert np.allclose(place, focus, atol=1.6)  # half of the largest voxel
        assert coloured(tab) > 1000 and tab.locator("#high").is_visible()

        tab.select_option("#ask-method", "hires_cam")
        idle(tab)
        assert tab.evaluate("document.body.dataset.shown") == "a2"
        tab.select_option("#ask-method", "saliency")
        idle(tab)
        assert tab.evaluate("document.body.dataset.shown") == "a1"  # it was known

        tab.select_option("#ask-about", "error")
        click(tab, 0.02, 0.02)  # beside the image
        idle(tab)
        said = tab.locator("#ask-says")
        assert "fault" in (said.get_attribute("class") or "") or "region" in said.inner_text()

        tab.click("#ask-keep")
        idle(tab)
        assert "Kept: " in tab.locator("#ask-says").inner_text()
        refused = [text for text in faults if "422" not in text]
        assert not refused, refused
        own = address.partition("/?")[0]
        assert all(url.startswith((own, "data:", "blob:")) for url in asked)
