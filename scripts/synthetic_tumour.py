"""A head that nobody has, with tumours of nested regions in four channels, drawn from ellipsoids.

It shows what regions are: whole tumour, core and enhancing part, with the integers of the BraTS
challenge (1 necrosis, 2 oedema, 4 enhancing). It looks like an MRI and is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHAPE = (40, 48, 32)
SPACING_MM = 3.0
CHANNELS = ("t1", "t1ce", "t2", "flair")
SEED = 7
NOISE = 4.0
"""Standard deviation, of 255 grey values."""

Mask = NDArray[np.bool_]

TISSUES = {
    #              t1, t1ce, t2, flair
    "scalp": (150, 155, 90, 80),
    "brain": (110, 115, 100, 105),
    "ventricles": (40, 42, 220, 35),
    "vessel": (95, 225, 60, 60),
    "oedema": (92, 96, 175, 205),
    "necrosis": (60, 62, 205, 150),
    "enhancing": (88, 215, 140, 165),
}
"""Grey values of each tissue in each channel; a vessel is as bright as what enhances."""

TUMOURS = (((12, 30, 17), 7.5), ((28, 17, 13), 5.5))
"""Centres and radii, in voxels."""


def draw_head() -> tuple[dict[str, NDArray[np.uint8]], NDArray[np.uint8]]:
    """Return the image of each channel and the label map."""
    random = np.random.default_rng(SEED)
    parts = tissues(random)
    labels = np.zeros(SHAPE, np.uint8)
    for name, integer in (("oedema", 2), ("necrosis", 1), ("enhancing", 4)):
        labels[parts[name]] = integer
    images = {}
    for place, channel in enumerate(CHANNELS):
        grey = np.zeros(SHAPE)
        for name, mask in parts.items():
            grey[mask] = TISSUES[name][place]
        grey = ndimage.gaussian_filter(grey, 0.5)
        field = ndimage.gaussian_filter(random.normal(size=SHAPE), 8)
        grey *= 1 + 0.06 * field / field.std()
        noise = random.normal(scale=NOISE, size=SHAPE) * (grey > 10)
        images[channel] = np.clip(np.rint(grey + noise), 0, 255).astype(np.uint8)
    return images, labels


def tissues(random: np.random.Generator) -> dict[str, Mask]:
    """Return the voxels of each tissue, later ones over earlier ones."""
    middle = [(length - 1) / 2 for length in SHAPE]
    head = ellipsoid(middle, (18, 22, 14.5))
    brain = ellipsoid(middle, (16, 20, 12.5))
    left, right = ((middle[0] + side * 3.5, middle[1], middle[2] + 1) for side in (-1, 1))
    ventricles = ellipsoid(left, (1.8, 7, 3.5)) | ellipsoid(right, (1.8, 7, 3.5))
    # Along the midline at the back, where there is no tumour.
    vessel = ellipsoid((middle[0], 8, middle[2]), (1.2, 2.0, 10))
    parts = {"scalp": head, "brain": brain, "ventricles": ventricles, "vessel": vessel}
    for name in ("oedema", "necrosis", "enhancing"):
        parts[name] = np.zeros(SHAPE, bool)
    for centre, radius in TUMOURS:
        # Each surface is bumpy in its own way, and the inner ones stay inside.
        depth = radius - distance(centre) + bumps(random, 0.9)
        whole = (depth > 0) & brain & ~ventricles
        core = whole & (depth > 0.3 * radius)
        inner = core & (depth > 0.75 * radius)
        parts["oedema"] |= whole & ~core
        parts["enhancing"] |= core & ~inner
        parts["necrosis"] |= inner
    return parts


def distance(centre: Sequence[float], axes: Sequence[float] = (1, 1, 1)) -> NDArray[np.float64]:
    """Return how far each voxel is from a point, in half-axes."""
    grid = np.indices(SHAPE).astype(float)
    steps = ((line - place) / half for line, place, half in zip(grid, centre, axes, strict=True))
    return np.asarray(np.sqrt(sum(step**2 for step in steps)))


def ellipsoid(centre: Sequence[float], axes: Sequence[float]) -> Mask:
    """Return the voxels of an ellipsoid."""
    return distance(centre, axes) <= 1


def bumps(random: np.random.Generator, height: float) -> NDArray[np.float64]:
    """Return smooth noise of a standard deviation in voxels."""
    noise = ndimage.gaussian_filter(random.normal(size=SHAPE), 2.0)
    return np.asarray(height * noise / noise.std())
