"""What a page shows in a browser, and the methods and scores of the report that tests open."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

METHODS = {"saliency": "saliency", "hires_cam": "hires_cam", "noise": "random_map"}
SCORES = {
    ("torso", "liver", "saliency", "deletion"): 0.4,
    ("torso", "liver", "hires_cam", "deletion"): 0.2,
    ("torso", "liver", "noise", "deletion"): 0.3,
}


def go(tab: Any, voxel: tuple[int, int, int], affine: np.ndarray) -> None:
    place = (affine @ [*voxel, 1.0])[:3].tolist()
    tab.evaluate("(mm) => window.esegeta.go(mm)", place)
    tab.wait_for_timeout(150)


def shot(tab: Any) -> np.ndarray:
    """Return the canvas as numbers: rows x columns x (red, green, blue)."""
    content = tab.locator("#left canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def reds(picture: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (red - green > 60) & (red - blue > 60)


def num_red(picture: np.ndarray) -> int:
    return int(reds(picture).sum())


def num_blue(picture: np.ndarray) -> int:
    red, _, blue = np.moveaxis(picture, -1, 0)
    return int((blue - red > 60).sum())


SHOWN = "document.body.dataset.shown === document.body.dataset.map"


def method(tab: Any) -> str:
    return str(tab.locator("#method option:checked").inner_text())


def state(tab: Any, name: str) -> str:
    return str(tab.evaluate("(name) => document.body.dataset[name]", name))


def value(tab: Any) -> float:
    return float(tab.locator("#value").inner_text().split()[0].replace("−", "-"))


def slide(tab: Any, name: str, place: int) -> None:
    tab.locator(name).evaluate(
        "(input, place) => { input.value = place; input.dispatchEvent(new Event('input')); }", place
    )
    tab.wait_for_timeout(200)
