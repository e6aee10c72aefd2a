"""Bodies, smooth fields in them, and the masks of units, for tests of chance."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from esegeta.dissection.above import Above
from esegeta.dissection.body import CaseSpace

SHAPES = {2: (48, 40), 3: (26, 24, 22)}
FLAT = {2: (1.0, 1.0), 3: (1.0, 1.0, 1.0)}


def ellipsoid(shape: tuple[int, ...]) -> torch.Tensor:
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    return torch.from_numpy(sum((axis / 0.85) ** 2 for axis in axes) < 1)


def space_of(body: torch.Tensor, number: int = 0) -> CaseSpace:
    return CaseSpace(number, tuple(body.shape), body.flatten())


def above_of(masks: torch.Tensor) -> Above:
    units, voxels = masks.flatten(1).nonzero().unbind(1)
    return Above(units, voxels)


def smooth(generator: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    field = ndimage.gaussian_filter(generator.normal(size=shape), width, mode="wrap")
    return np.asarray(field / field.std())
