"""Contributions on the grid of the file: against dense matrices, and their sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.explain import (
    Attribution,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    Saliency,
    aggregate,
    map_on_file,
)
from esegeta.volume import Intensity, intensity_of, on_source
from tests.builders import linear
from tests.explain.pipelines import (
    CHAINS,
    PIL,
    SHAPE,
    explained,
    linear_to,
    matrix_of,
    network,
    scan,
)
from tests.volume.files import noise


def conserved(attribution: Attribution) -> float:
    """Return by how much the file's sum misses the network's, of the map's size."""
    totals = map_on_file(attribution, "adjoint").totals
    missed = totals["network"] - totals["padding"] - totals["file"]
    return abs(missed) / float(attribution.data.double().abs().sum())


WAYS = {
    "input": InputXGradient(),
    "integrated": IntegratedGradients(steps=3, baseline="zero"),
    "several baselines": GradientShap(samples=4, baselines=("zero", "zero")),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_path_is_the_slope_carried_back_times_the_voxels_of_the_file(name: str) -> None:
    before = scan()
    chain = replace(PIL, intensity=intensity_of([{"rescale": {"scale": 0.01}}]))
    attribution = explained(WAYS[name], chain, before, network())
    seen = attribution.volume.data
    slope = attribution.data.double() / seen.double()  # of a baseline of zero
    matrix = matrix_of(linear_to(before, PIL), SHAPE)
    x = before.data.numpy().ravel()
    expected = 0.01 * x * (matrix.T @ torch.where(seen == 0, 0.0, slope).numpy().ravel())
    found = map_on_file(attribution, "adjoint")
    assert float((seen != 0).double().mean()) > 0.3
    np.testing.assert_allclose(found.data.numpy().ravel(), expected, rtol=1e-4, atol=1e-5)
    assert conserved(attribution) < 1e-6
    assert found.unit == attribution.unit
    interpolated = map_on_file(attribution, "interpolation").totals
    assert interpolated["network"] == found.totals["network"]
    assert abs(interpolated["file"] / found.totals["file"] - 1) > 0.1


@pytest.mark.parametrize("name", CHAINS)
def test_every_preprocessing_and_baseline_keeps_the_sum(name: str) -> None:
    chain, before, _ = CHAINS[name]
    net = network(before.num_channels)
    for baseline in ("zero", "blur"):
        attribution = explained(IntegratedGradients(2, baseline), chain, before, net)
        assert conserved(attribution) < 1e-6
        found = map_on_file(attribution, "adjoint")
        assert found.data.shape == before.data.shape
        if before.num_channels > 1:
            for channel in range(before.num_channels):
                own = attribution.data[channel].double()
                missed = found.data[channel].double().sum() - own.sum()
                assert abs(float(missed)) < 1e-6 * float(own.abs().sum())


def test_a_zscored_path_is_the_slope_times_the_change_from_the_mean() -> None:
    before = scan()
    chain = replace(PIL, intensity=Intensity("zscore"))
    attribution = explained(IntegratedGradients(2, "zero"), chain, before, linear(3))
    z = linear_to(before, PIL)(before.data.numpy())
    w = explained(Saliency(), chain, before, linear(3)).data.double().numpy()
    matrix = matrix_of(linear_to(before, PIL), SHAPE)
    change = (before.data.numpy() - z.mean()) / z.std()
    expected = change * (matrix.T @ w.ravel()).reshape(change.shape)
    found = map_on_file(attribution, "adjoint")
    np.testing.assert_allclose(found.data, expected, rtol=1e-4, atol=1e-6)
    assert "0.00% of the map's size" in found.how


def test_values_of_methods_without_a_path_are_distributed_by_the_weights() -> None:
    before = scan()
    chain = replace(PIL, intensity=Intensity("window", 0, 400))
    attribution = explained(Occlusion(box=3, baseline="zero"), chain, before, network())
    matrix = matrix_of(linear_to(before, PIL), SHAPE)
    found = map_on_file(attribution, "adjoint")
    expected = matrix.T @ attribution.data.double().numpy().ravel()
    np.testing.assert_allclose(found.data.numpy().ravel(), expected, rtol=1e-5, atol=1e-6)
    assert conserved(attribution) < 1e-6
    assert "by their weights" in found.how


def test_values_on_padding_are_reported_apart() -> None:
    chain, before, _ = CHAINS["crop, pad"]
    seen = chain(before)
    assert seen.inside is not None
    attribution = explained(InputXGradient(), chain, before, network())
    data = torch.from_numpy(noise(tuple(seen.data.shape)))
    found = map_on_file(replace(attribution, data=data, ways=()), "adjoint")
    outside = float(data[0][~seen.inside].double().sum())
    assert found.totals["padding"] == pytest.approx(outside, rel=1e-6)
    left = float(data.double().sum()) - outside
    assert found.totals["file"] == pytest.approx(left, rel=1e-5)
    np.testing.assert_array_equal(found.data, on_source(data, seen, resampling="bilinear"))


def test_regions_add_up_to_what_lies_in_the_file() -> None:
    chain, before, _ = CHAINS["two channels, range"]
    attribution = explained(IntegratedGradients(2, "zero"), chain, before, network(2))
    found = map_on_file(attribution, "adjoint")
    for row, channel in zip(aggregate(attribution), found.data, strict=True):
        assert row.signed_sum == pytest.approx(float(channel.double().sum()), rel=1e-5)
