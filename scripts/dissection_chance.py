"""Simulate how often dissection's surrogates call what is chance something else.

Units and concepts that have nothing to do with each other lie in one body; the table of
docs/dissection.md is what this prints:

    python scripts/dissection_chance.py [--runs-share 1] [ROW ...]

Each row stands for a kind of unit and of concept. Shares of pairs are given with 95 % intervals
over runs, since the pairs of one run share its concepts and its draws.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage, stats

from esegeta.dissection import CaseSpace, ConceptParts, OverlapTally, Surrogates, q_values, tally
from esegeta.dissection.above import Above

SHAPE = (44, 40, 36)
NUM_UNITS = 200
LEVELS = (0.05, 0.01, 0.001)

Array = np.ndarray
Generator = np.random.Generator


def body_of(shape: tuple[int, ...]) -> Array:
    """Return an ellipsoid of some 20,000 voxels."""
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    return np.asarray(np.sum([(axis / 0.85) ** 2 for axis in axes], axis=0) < 1)


def smooth(generator: Generator, width: float) -> Array:
    """Return Gaussian noise of unit variance through a Gaussian filter."""
    field = ndimage.gaussian_filter(generator.normal(size=SHAPE), width, mode="wrap")
    return np.asarray(field / field.std())


def skewed(generator: Generator, width: float) -> Array:
    """Return a log-normal field, which has peaks."""
    return np.asarray(np.exp(1.5 * smooth(generator, width)))


def uneven(generator: Generator, width: float) -> Array:
    """Return a field that is smooth in one half of the body and rough in the other."""
    fine, coarse = smooth(generator, width / 3), smooth(generator, width)
    half = np.arange(SHAPE[0]) < SHAPE[0] // 2
    return np.where(half[:, None, None], coarse, fine)


def strided(generator: Generator, width: float) -> Array:
    """Return a field on a grid of every fourth voxel, interpolated as a layer's map is."""
    small = tuple(side // 4 for side in SHAPE)
    field = ndimage.gaussian_filter(generator.normal(size=small), width / 4, mode="wrap")
    values = torch.from_numpy(field)[None, None]
    wide = torch.nn.functional.interpolate(values, size=SHAPE, mode="trilinear")
    return np.asarray(wide[0, 0])


def ball(body: Array, centre: Array, radius: float) -> Array:
    """Return the voxels of a body near a place."""
    grid = np.moveaxis(np.indices(body.shape), 0, -1)
    near = ((grid - centre) ** 2).sum(axis=-1) < radius**2
    return np.asarray(np.logical_and(near, body))


def blobs(generator: Generator, body: Array, count: int = 5) -> list[Array]:
    """Return balls at random places."""
    index = np.argwhere(body)
    places = index[generator.integers(len(index), size=count)]
    return [ball(body, place, 4 + 2 * generator.random()) for place in places]


def anatomy(generator: Generator, body: Array) -> list[Array]:
    """Return a central organ, the skin, two organs at fixed places, and a blob."""
    sides = np.array(body.shape)
    depth = ndimage.distance_transform_edt(body)
    organs = [ball(body, sides * place, 5.5) for place in ([0.35, 0.5, 0.4], [0.6, 0.6, 0.6])]
    skin = body & (depth <= 2)
    return [ball(body, sides / 2, 7.0), skin, *organs, *blobs(generator, body, 1)]


@dataclass(frozen=True)
class Row:
    """One row of the table: units, concepts, how often."""

    units: Callable[[Generator, float], Array]
    concepts: Callable[[Generator, Array], list[Array]]
    runs: int
    width: float = 3.0
    cases: int = 1
    stride: float = 1.0
    quantile: float = 0.02


ROWS: dict[str, Row] = {
    "Gaussian fields; blobs": Row(smooth, blobs, 40),
    "the same, `quantile` 0.005": Row(smooth, blobs, 20, quantile=0.005),
    "the same, smoothness 1 voxel": Row(smooth, blobs, 20, width=1.0),
    "the same, smoothness 6 voxels": Row(smooth, blobs, 50, width=6.0),
    "Gaussian fields; a central organ, the skin, two organs, a blob": Row(smooth, anatomy, 30),
    "a central organ and the others, smoothness 6 voxels": Row(smooth, anatomy, 50, width=6.0),
    "the same over four cases": Row(smooth, anatomy, 6, cases=4),
    "the same over four cases, smoothness 6 voxels": Row(smooth, anatomy, 6, width=6.0, cases=4),
    "a layer of stride 4": Row(strided, anatomy, 20, width=4.0, stride=4.0),
    "skewed fields, with peaks": Row(skewed, anatomy, 20),
    "smooth in one half, rough in the other": Row(uneven, anatomy, 20),
}


def p_of(row: Row, seed: int) -> torch.Tensor:
    """Return p of units and concepts that have nothing to do with each other, `U K`."""
    generator = np.random.default_rng(seed)
    body, null = body_of(SHAPE), Surrogates(samples=1000, seed=seed)
    cases = [
        (
            np.stack([row.units(generator, row.width) for _ in range(NUM_UNITS)]),
            row.concepts(generator, body),
        )
        for _ in range(row.cases)
    ]
    lowest = min(float(fields.min()) for fields, _ in cases)
    drawn, observed = torch.zeros((), dtype=torch.int64), list[OverlapTally]()
    known = [np.where(body, fields, lowest).reshape(NUM_UNITS, -1) for fields, _ in cases]
    thresholds = np.quantile(np.concatenate(known, axis=1), 1 - row.quantile, axis=1)
    for number, (values, (_, concepts)) in enumerate(zip(known, cases, strict=True)):
        units, voxels = torch.from_numpy(values > thresholds[:, None]).nonzero().unbind(1)
        partition = ConceptParts.of([torch.from_numpy(one) for one in concepts])
        space = CaseSpace(number, SHAPE, torch.from_numpy(body.ravel()))
        case, above = null.of_case(partition, space), Above(units, voxels)
        case.add(above, NUM_UNITS, (row.stride,) * 3)
        observed.append(tally(above, partition, NUM_UNITS))
        drawn = drawn + case.overlaps()
    total = observed[0]
    for one in observed[1:]:
        total = total + one
    return null.p_values(total, drawn)


def cells(found: list[torch.Tensor]) -> Iterator[str]:
    """Yield share and interval for each level, then the runs that named anything."""
    for level in LEVELS:
        shares = np.array([float((p <= level).double().mean()) for p in found])
        half = stats.t.ppf(0.975, len(shares) - 1) * shares.std(ddof=1) / len(shares) ** 0.5
        yield f"{100 * shares.mean():.2g} +- {100 * half:.2g} %"
    named = sum(bool((q_values(p) <= 0.05).any()) for p in found)
    low, high = stats.binomtest(named, len(found)).proportion_ci(method="exact")
    yield f"{named} of {len(found)} ({100 * low:.0f} to {100 * high:.0f} %)"


def main() -> None:
    """Print the rows that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--runs-share", type=float, default=1.0, help="do this share of the runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.rows or ROWS:
        start, row = time.process_time(), ROWS[name]
        found = [p_of(row, seed) for seed in range(max(round(row.runs * given.runs_share), 2))]
        seconds = time.process_time() - start
        print(f"| {name} | {' | '.join(cells(found))} |   ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
