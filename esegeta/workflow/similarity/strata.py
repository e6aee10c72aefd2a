"""Which voxels of an image can be sampled, and which label each of them belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Mask, along_axes
from esegeta.dissection import find_body
from esegeta.similarity import OUTSIDE
from esegeta.targets import Scene
from esegeta.volume import Case, Grid, Volume, read_labels_of_case
from esegeta.workflow import Basis
from esegeta.workflow.similarity.build import Comparison

VOXELS_AT_A_TIME = 1 << 20
SLACK_VOX = 0.5
"""A voxel belongs to a grid as far as the outer half of its outermost voxels."""


def strata_of(comparison: Comparison, case: Case, volume: Volume) -> Int[Tensor, " N"]:
    """Return the number of the label of each voxel of the image, flattened; else OUTSIDE.

    OUTSIDE are voxels beyond the body, those that a network does not see, and those whose label
    is not known. Labels are those of the case's label map; without one, the predicted ones of the
    first network.

    Args:
        comparison: comparison that names the labels.
        case: case of the image.
        volume: image as the first network sees it, without its label map.
    """
    basis = comparison.basis
    grid = basis.grids[case.name]
    strata = torch.zeros(grid.shape, dtype=torch.int64)
    for number, mask in enumerate(_labels_of(basis, case, volume), start=1):
        strata[mask] = number  # of labels within others the inner one, which is listed later
    known = _known(basis, case)
    if known is not None:
        strata[~known] = OUTSIDE
    strata, body = strata.flatten(), find_body(volume.data).cpu()
    seen = [network.grids[case.name] for network in comparison.networks]
    for some in torch.split(torch.arange(len(strata)), VOXELS_AT_A_TIME):
        voxels = torch.stack(along_axes(some, grid.shape), dim=1)
        sampled = _is_body(body, volume.grid, points_on(volume.grid, grid, voxels))
        for own in seen:
            sampled &= within(points_on(own, grid, voxels), own)
        strata[some[~sampled]] = OUTSIDE
    return strata


def points_on(grid: Grid, image: Grid, voxels: Int[Tensor, "N A"]) -> Float[Tensor, "N A"]:
    """Return where voxels of the image lie on the grid of a network, in its voxels."""
    way = np.linalg.inv(grid.affine) @ image.affine
    ndim = image.ndim
    turn, shift = torch.from_numpy(way[:ndim, :ndim]), torch.from_numpy(way[:ndim, 3].copy())
    return voxels.double() @ turn.T + shift


def within(points: Float[Tensor, "N A"], grid: Grid) -> Tensor:
    """Tell which points lie on the voxels of a grid."""
    last = torch.tensor(grid.shape, dtype=points.dtype) - 1
    inside: Tensor = ((points >= -SLACK_VOX) & (points <= last + SLACK_VOX)).all(dim=1)
    return inside


def _is_body(body: Mask, grid: Grid, points: Tensor) -> Tensor:
    last = torch.tensor(grid.shape) - 1
    nearest = torch.minimum(points.round().long().clamp(min=0), last)
    found: Tensor = body[tuple(nearest.T)]
    return found


def _labels_of(basis: Basis, case: Case, volume: Volume) -> Iterator[Mask]:
    labels = basis.predictor.labels
    if case.label is None:
        scene = Scene(basis.predictor, volume.to(basis.device))
        masks = dict(scene.on_source(basis.config.keys.prediction.resample).masks())
        yield from (masks[name].cpu() for name in labels.foreground)
        return
    truth = _truth(basis, case)
    yield from (labels.truth(truth, name) for name in labels.foreground)


def _known(basis: Basis, case: Case) -> Mask | None:
    labels = basis.predictor.labels
    if labels.ignore_label is None or case.label is None:
        return None
    return labels.valid(_truth(basis, case))


def _truth(basis: Basis, case: Case) -> Tensor:
    assert case.label is not None
    return read_labels_of_case(case.label, case, basis.grids[case.name], basis.reading)


def image_of(basis: Basis, case: Case) -> Volume:
    """Read the image of a case as a network takes it."""
    volume, _ = basis.read(replace(case, label=None))
    return volume.to(basis.device)
