"""Maps on the grid of the file: against finite differences of whole pipelines, and dense matrices.

What preprocessing does is written anew in NumPy, float64; the network is called in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from esegeta.errors import ConfigError
from esegeta.explain import (
    EXPLAINERS,
    Attribution,
    Explainer,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    RandomMap,
    Saliency,
    SmoothGrad,
    aggregate,
    default_by,
    errors_on_file,
    map_on_file,
)
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
    on_source,
    volume_from_tensor,
)
from tests.builders import affine_of, linear, predictor
from tests.contracts.explainers import ROWS
from tests.experiments import read_json, voxels
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


@pytest.mark.parametrize("name", CHAINS)
def test_a_slope_is_that_of_the_whole_pipeline(name: str) -> None:
    chain, before, forward = CHAINS[name]
    seen = chain(before)
    x = before.data.numpy()
    np.testing.assert_allclose(seen.data, forward(x), rtol=1e-5, atol=1e-5)
    net = network(len(x))
    model = whole(net, seen)
    target = frozen(model, seen)
    found = map_on_file(Saliency().explain(model, seen, target), "adjoint")
    assert found.unit.endswith("/ grey value of the file")
    exact, mask = copy.deepcopy(net).double(), target.mask.numpy()

    def value(image: np.ndarray) -> float:
        with torch.no_grad():
            logits = exact(torch.from_numpy(forward(image))[None])
        return float(logits[0, 1].numpy()[mask].sum())

    # Along random directions, in which every voxel has a part; of a crop's box the inside.
    for seed in range(3):
        direction = noise(x.shape, seed + 1).astype(np.float64) * (x != 0)
        numeric = (value(x + 1e-4 * direction) - value(x - 1e-4 * direction)) / 2e-4
        size = float(np.abs(found.data.double().numpy() * direction).sum())
        carried = float((found.data.double().numpy() * direction).sum())
        assert size > 1e-3
        assert abs(carried - numeric) < 1e-6 * size


def matrix_of(forward: Forward, shape: tuple[int, ...]) -> np.ndarray:
    """Return a linear map of one channel as a matrix: a column a voxel of the file."""
    units = np.eye(int(np.prod(shape)))
    return np.stack([forward(unit.reshape(1, *shape)).ravel() for unit in units], axis=1)


def explained(method: Explainer, chain: Preprocess, before: Volume, net: nn.Module) -> Attribution:
    seen = chain(before)
    model = whole(net, seen)
    return method.explain(model, seen, frozen(model, seen))


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
def test_sums_are_kept_whatever_the_chain_and_the_baseline(name: str) -> None:
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


def test_without_a_path_each_value_is_shared_out_by_the_weights() -> None:
    before = scan()
    chain = replace(PIL, intensity=Intensity("window", 0, 400))
    attribution = explained(Occlusion(box=3, baseline="zero"), chain, before, network())
    matrix = matrix_of(linear_to(before, PIL), SHAPE)
    found = map_on_file(attribution, "adjoint")
    expected = matrix.T @ attribution.data.double().numpy().ravel()
    np.testing.assert_allclose(found.data.numpy().ravel(), expected, rtol=1e-5, atol=1e-6)
    assert conserved(attribution) < 1e-6
    assert "by their weights" in found.how


def test_padding_has_no_voxel_and_is_told_apart() -> None:
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


@pytest.mark.parametrize("method", [RandomMap(), Saliency(absolute=True)])
def test_heights_are_only_interpolated_and_it_is_said(method: Explainer) -> None:
    attribution = explained(method, CHAINS["linear, window"][0], scan(), network())
    found = map_on_file(attribution, "adjoint")
    assert found.by == "interpolation"
    assert "only interpolated" in found.describe(attribution)["refused"]
    assert found.unit == attribution.unit
    expected = on_source(attribution.data, attribution.volume, resampling="bilinear")
    torch.testing.assert_close(found.data, expected, rtol=0, atol=0)


def test_a_mirrored_volume_has_the_slopes_of_its_mirrored_network() -> None:
    chain, before, _ = CHAINS["linear, z-score"]
    seen = chain(before).flipped(1)
    model = whole(network(), seen)
    attribution = Saliency().explain(model, seen, frozen(model, seen))
    found = map_on_file(attribution, "adjoint").data
    straight = replace(attribution, data=attribution.data.flip(2), volume=chain(before))
    torch.testing.assert_close(found, map_on_file(straight, "adjoint").data)


def test_data_of_unknown_origin_goes_back_through_space_alone() -> None:
    chain, before, _ = CHAINS["linear, z-score"]
    seen = chain(before)
    changed = seen.with_data(seen.data * 2)
    model = whole(network(), changed)
    matrix = matrix_of(linear_to(before, PIL), SHAPE)
    for method in (Saliency(), IntegratedGradients(2, "zero")):
        attribution = method.explain(model, changed, frozen(model, changed))
        found = map_on_file(attribution, "adjoint")
        expected = matrix.T @ attribution.data.double().numpy().ravel()
        np.testing.assert_allclose(found.data.numpy().ravel(), expected, rtol=1e-4, atol=1e-6)
        assert found.unit == attribution.unit


def test_errors_on_the_file_are_upper_bounds() -> None:
    chain, before, _ = CHAINS["linear, window"]
    attribution = explained(SmoothGrad(samples=3, spread=True), chain, before, network())
    errors = attribution.standard_error
    assert errors is not None
    found = errors_on_file(attribution, "adjoint")
    matrix = matrix_of(linear_to(before, PIL), SHAPE)
    z = linear_to(before, PIL)(before.data.numpy())
    within = ((z > 30) & (z < 215)) / 185
    expected = matrix.T @ (errors.numpy() * within).ravel()
    np.testing.assert_allclose(found.numpy().ravel(), expected, rtol=1e-5, atol=1e-9)
    assert float(found.min()) >= 0


def test_a_saved_map_says_how_it_came_to_the_file_and_what_it_adds_up_to(tmp_path: Path) -> None:
    chain, before, _ = CHAINS["linear, window"]
    attribution = explained(IntegratedGradients(2, "zero"), chain, before, network())
    sums = {}
    for by in (None, "adjoint", "interpolation"):
        path = attribution.save(tmp_path / f"{by}.nii.gz", by=by)
        sidecar = read_json(tmp_path / f"{by}.json")
        assert sidecar["grid"]["by"] == (by or "adjoint")
        sums[by] = float(voxels(path).sum(dtype=np.float64))
        assert sidecar["grid"]["totals"]["file"] == pytest.approx(sums[by], rel=1e-6)
        assert sidecar["unit"] == sidecar["grid"]["units"]["file"] == attribution.unit
        network_sum = sidecar["grid"]["totals"]["network"]
        assert network_sum == pytest.approx(float(attribution.data.double().sum()), rel=1e-9)
    size = float(attribution.data.double().abs().sum())
    assert abs(sums[None] - network_sum) < 1e-6 * size
    assert abs(sums["interpolation"] - network_sum) > 0.01 * size
    with pytest.raises(ConfigError, match='by: "adjont" is not known; did you mean "adjoint"'):
        attribution.save(tmp_path / "x.nii.gz", by="adjont")


def test_only_what_adds_up_is_carried_back_unless_it_is_asked_for() -> None:
    found = {name for name in EXPLAINERS if default_by(ROWS[name].meaning) == "adjoint"}
    assert found == {
        *("input_x_gradient", "integrated_gradients", "gradient_shap", "neuron_conductance"),
        *("deep_lift", "deep_lift_shap", "lrp", "pattern_attribution", "noise_tunnel"),
        *("layer_integrated_gradients", "layer_conductance", "layer_deep_lift"),
        *("layer_gradient_shap", "layer_gradient_x_activation"),
    }
    assert default_by(Saliency().meaning) == "interpolation"
