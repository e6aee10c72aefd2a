"""Scans, chains of preprocessing in NumPy and float64, and networks whose window is the volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from esegeta.explain import Attribution, Explainer
from esegeta.predict import Predictor
from esegeta.volume import (
    Crop,
    CropOrPad,
    Grid,
    Intensity,
    Preprocess,
    Volume,
    grid_of_spacing,
    intensity_of,
    volume_from_tensor,
)
from tests.builders import affine_of, predictor
from tests.oracles import frozen
from tests.volume.files import noise
from tests.volume.references import nnunet_resample, nnunet_zscore, nonzero_box, nonzero_mask
from tests.volume.test_adjoint import between

SHAPE = (6, 5, 4)
SPACING = (1.5, 2.0, 2.5)
Forward = Callable[[np.ndarray], np.ndarray]
PIL = Preprocess("PIL", (4.0, 1.5, 2.0))


def scan(num_channels: int = 1, affine: np.ndarray | None = None) -> Volume:
    """Noise in a box that leaves a border of zeros on most sides; float64."""
    data = np.zeros((num_channels, *SHAPE))
    data[:, 1:6, 0:4, 1:4] = noise((num_channels, 5, 4, 3)) * 30 + 200
    given = grid_of_spacing(SHAPE, SPACING).affine if affine is None else affine
    blank = volume_from_tensor(torch.zeros(num_channels, *SHAPE), affine=given)
    return blank.with_data(torch.from_numpy(data))


def linear_to(before: Volume, chain: Preprocess) -> Forward:
    return between(before.grid, chain.route(before.grid).onto(before.grid))


def nearest_to(grid: Grid, onto: Grid) -> Forward:
    places = [np.arange(n) * b / a for n, a, b in zip(onto.shape, SPACING, NEAREST, strict=True)]
    ends = zip(places, grid.shape, strict=True)
    index = [np.rint(place).clip(0, length - 1).astype(int) for place, length in ends]
    return lambda x: x[np.ix_(range(len(x)), *index)]


NEAREST = (2.0, 1.1, 3.1)


def cubic(x: np.ndarray) -> np.ndarray:
    y = np.transpose(x, (0, 3, 1, 2))
    inside, box = nonzero_mask(y), nonzero_box(y)
    y = nnunet_zscore(y[(0, *box)], inside[box])[None]
    return nnunet_resample(y, (2.5, 1.5, 2.0), (5.0, 1.0, 1.3), order=3, force=False)


def padded(x: np.ndarray) -> np.ndarray:
    y = x[(slice(None), *nonzero_box(scan().data.numpy()))]
    y = np.pad(y, [(0, 0), (1, 2), (2, 2), (1, 2)])
    return (y - y.mean()) / y.std()


def coarse(x: np.ndarray) -> np.ndarray:
    return np.clip(nnunet_resample(x, SPACING, (1.0, 1.0, 7.6), order=1), 195, 205) / 10 - 20


def chains() -> dict[str, tuple[Preprocess, Volume, Forward]]:
    """Chains of every kind of step, the scan that each is for, and what each is in NumPy."""
    one, two, oblique = scan(), scan(2), scan(1, affine_of("oblique"))
    moved, aslant = linear_to(one, PIL), linear_to(oblique, PIL)
    thin = Preprocess(None, (1.0, 2.5, 2.0))
    thinned = linear_to(two, thin)
    by_nearest = Preprocess(None, NEAREST, Intensity("window", -100, 400), order=0)

    def standardised(x: np.ndarray) -> np.ndarray:
        z = moved(x)
        return (z - z.mean()) / z.std()

    def ranged(x: np.ndarray) -> np.ndarray:
        z = thinned(x)
        low, high = z.min(axis=(1, 2, 3), keepdims=True), z.max(axis=(1, 2, 3), keepdims=True)
        return (z - low) / (high - low)

    def percentiles(x: np.ndarray) -> np.ndarray:
        z = aslant(x)
        low, high = np.percentile(z, [15, 80])
        return np.clip((z - low) / (high - low), 0, 1)

    of_foreground = [{"zscore": {"over": "foreground"}, "when": "before_resampling"}]
    clipped = intensity_of([{"clip": [195, 205]}, {"rescale": {"scale": 0.1, "offset": -20}}])
    percentile = Intensity("percentile", 15, 80)
    return {
        "linear, window": (
            replace(PIL, intensity=Intensity("window", 30, 215)),
            one,
            lambda x: np.clip((moved(x) - 30) / 185, 0, 1),
        ),
        "linear, z-score": (replace(PIL, intensity=Intensity("zscore")), one, standardised),
        "two channels, range": (replace(thin, intensity=Intensity("minmax")), two, ranged),
        "oblique, percentiles": (replace(PIL, intensity=percentile), oblique, percentiles),
        "cubic, crop, transpose": (
            Preprocess(
                None,
                (5.0, 1.0, 1.3),
                intensity_of(of_foreground),
                order=3,
                crop=Crop(),
                transpose=(2, 0, 1),
            ),
            one,
            cubic,
        ),
        "nearest": (
            by_nearest,
            one,
            lambda x: (
                (nearest_to(one.grid, by_nearest.route(one.grid).onto(one.grid))(x) + 100) / 500
            ),
        ),
        "crop, pad": (
            Preprocess(
                crop=Crop(),
                crop_or_pad=CropOrPad((8, 8, 6), when="before_intensity"),
                intensity=Intensity("zscore"),
            ),
            one,
            padded,
        ),
        "coarse axis": (
            Preprocess(None, (1.0, 1.0, 7.6), clipped, separate_axis="auto"),
            one,
            coarse,
        ),
    }


CHAINS = chains()


def network(num_channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    first = nn.Conv3d(num_channels, 3, 3, padding=1)
    return nn.Sequential(first, nn.Tanh(), nn.Conv3d(3, 2, 1)).eval()


def whole(net: nn.Module, seen: Volume) -> Predictor:
    """Return a predictor whose one window is the volume."""
    return predictor(net, seen.grid.shape, overlap=0.0, blend="constant")


def matrix_of(forward: Forward, shape: tuple[int, ...]) -> np.ndarray:
    """Return a linear map of one channel as a matrix: a column a voxel of the file."""
    units = np.eye(int(np.prod(shape)))
    return np.stack([forward(unit.reshape(1, *shape)).ravel() for unit in units], axis=1)


def explained(method: Explainer, chain: Preprocess, before: Volume, net: nn.Module) -> Attribution:
    seen = chain(before)
    model = whole(net, seen)
    return method.explain(model, seen, frozen(model, seen))
