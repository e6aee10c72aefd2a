"""Maps carried back to the voxels of the file by the transpose of what led to the network's grid.

    slopes      by the Jacobian of all of preprocessing: by the file's own grey values
    shares      by the weights of the interpolation alone: sums are kept
    paths       a mean slope, carried back by those weights, times the change of the file's voxels

Computed in float64, where the image before preprocessing lies.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image
from esegeta.volume.route import Route
from esegeta.volume.volume import Volume
from esegeta.volume.way_back import resample

CarriedData = Float[Tensor, "C *T"]


def carry_slopes(slopes: Image, volume: Volume) -> CarriedData:
    """Return slopes `C *S` by the network's input as slopes by the grey values of the file.

        dR/dx = J^T dR/dz,   z = preprocess(x)

    Statistics of the image are differentiated with the rest; boxes, and the voxels over which
    statistics are taken, are fixed. Where what led to the data is not known, grey values are those
    of the network's input, and only the steps in space are undone.
    """
    origin = volume.origin
    if origin is None:
        return carry_shares(slopes, volume)
    slopes = slopes.to(origin.image.device).double()
    return origin.chain.adjoint(slopes, _before(volume, origin.image), like=volume)


def carry_slope_bounds(sizes: Image, volume: Volume) -> CarriedData:
    """Return the most that slopes of these sizes come to on the file, statistics held fixed.

    Weights of cubic splines, some of which are below zero, make it an estimate.
    """
    origin = volume.origin
    if origin is None:
        return carry_shares(sizes, volume).abs()
    before = _before(volume, origin.image)
    chain = origin.chain.fixed(before, like=volume)
    return chain.adjoint(sizes.to(origin.image.device).double(), before, like=volume).abs()


def carry_shares(values: Image, volume: Volume) -> CarriedData:
    """Share each value `A *S` among the voxels that it was interpolated from, by their weights.

    The weights of a voxel add up to one: so do the parts to the value. What lies on padding was
    read from no voxel, and is lost.
    """
    device = values.device if volume.origin is None else volume.origin.image.device
    return volume.route.transposed(values.to(device).double(), volume.source.grid)


def carry_path(slopes: Image, start: Image, volume: Volume) -> tuple[CarriedData, Image] | None:
    """Carry a mean slope along a path back, and multiply it by the change of the file's voxels.

        a = (f(u) - u') * S^T slopes

    S is the interpolation, f the intensity steps with their statistics held fixed, u the voxels of
    the file; u' is the baseline, brought onto them linearly. Where f is linear and the baseline
    one that S leads to, it adds up to what slopes * (z - z') does on the network's grid.

    Args:
        slopes: `C *S` by the network's input.
        start: the baseline z', `C *S`.
        volume: the image z, with what it was before preprocessing.

    Returns:
        The map `C *T` on the file's grid, and the part `C *S` of the map on the network's grid
        that it stands for, slopes * S(f(u) - u'). None where the voxels of the file are not known.
    """
    origin = volume.origin
    if origin is None:
        return None
    device = origin.image.device
    before = _before(volume, origin.image)
    chain = origin.chain.fixed(before, like=volume)
    own, first = chain.before_resampling(before, like=volume)
    grid = first.onto(volume.source.grid)
    rest = Route(volume.route.moves[len(first.moves) :])
    baseline = resample(start.to(device).double(), volume.grid, grid, resampling="bilinear")
    change, slopes = own - baseline, slopes.to(device).double()
    carried = change * rest.transposed(slopes, grid)
    return first.transposed(carried, volume.source.grid), slopes * rest.linear(change, grid)


def _before(volume: Volume, image: Tensor) -> Volume:
    """Return a volume as it was before preprocessing."""
    grid = volume.source.grid
    return replace(volume, data=image, grid=grid, route=Route(), origin=None)


def padding_sum(values: Image, volume: Volume) -> float:
    """Return what lies on voxels that are padding, which no file has."""
    inside = volume.inside
    if inside is None:
        return 0.0
    outside = ~inside.to(values.device)
    return float(torch.where(outside, values.double(), 0.0).sum())
