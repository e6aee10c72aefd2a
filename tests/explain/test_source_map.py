"""Maps on the grid of the file: slopes against finite differences of whole pipelines.

What preprocessing does is written anew in NumPy, float64; the network is called in float64.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError
from esegeta.explain import (
    EXPLAINERS,
    DeepLift,
    Explainer,
    IntegratedGradients,
    RandomMap,
    Saliency,
    SmoothGrad,
    default_by,
    errors_on_file,
    map_on_file,
)
from esegeta.explain.source_map import kept_of
from esegeta.volume import on_source
from tests.contracts.explainers import ROWS
from tests.experiments import read_json, voxels
from tests.explain.pipelines import (
    CHAINS,
    PIL,
    SHAPE,
    explained,
    linear_to,
    matrix_of,
    network,
    scan,
    whole,
)
from tests.oracles import frozen
from tests.volume.files import noise


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


@pytest.mark.parametrize("method", [RandomMap(), Saliency(absolute=True)])
def test_maps_that_do_not_add_up_are_only_interpolated_with_a_note(method: Explainer) -> None:
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


def test_data_of_unknown_origin_is_carried_back_through_resampling_alone() -> None:
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


def test_errors_are_distributed_like_the_map() -> None:
    chain, before, _ = CHAINS["linear, window"]
    attribution = explained(DeepLift("zero"), chain, before, network())
    known = replace(attribution, standard_error=attribution.data.abs())
    found = errors_on_file(known, "adjoint")
    positive = replace(attribution, data=attribution.data.abs())
    torch.testing.assert_close(found, map_on_file(positive, "adjoint").data)
    assert float(found.sum()) == pytest.approx(float(attribution.data.abs().sum()), rel=1e-5)


def test_deep_lift_is_distributed_by_the_resampling_weights_and_keeps_the_sum() -> None:
    """Exact in the sum and in each network voxel's part; a file voxel's height is a share of it."""
    chain, before, _ = CHAINS["linear, window"]
    attribution = explained(DeepLift("zero"), chain, before, network())
    found = map_on_file(attribution, "adjoint")
    weights = matrix_of(linear_to(before, PIL), SHAPE)
    weights = weights / weights.sum(axis=1, keepdims=True)
    own = attribution.data.double().numpy().ravel()
    np.testing.assert_allclose(
        found.data.numpy().ravel(), weights.T @ own, rtol=1e-4, atol=1e-6 * np.abs(own).max()
    )
    assert abs(float(found.data.double().sum()) - own.sum()) < 1e-6 * np.abs(own).sum()


def test_a_saved_map_records_its_way_to_the_file_and_its_sum(tmp_path: Path) -> None:
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
        written = voxels(path)
        high = np.percentile(np.abs(written[written != 0]), 99.5)
        assert sidecar["display"]["high"] == pytest.approx(float(high), rel=1e-6)
        network_sum = sidecar["grid"]["totals"]["network"]
        assert network_sum == pytest.approx(float(attribution.data.double().sum()), rel=1e-9)
    size = float(attribution.data.double().abs().sum())
    assert abs(sums[None] - network_sum) < 1e-6 * size
    assert abs(sums["interpolation"] - network_sum) > 0.01 * size
    with pytest.raises(ConfigError, match='by: "adjont" is not known; did you mean "adjoint"'):
        attribution.save(tmp_path / "x.nii.gz", by="adjont")


def test_only_maps_that_add_up_are_carried_back_by_default() -> None:
    found = {name for name in EXPLAINERS if default_by(ROWS[name].meaning) == "adjoint"}
    assert found == {
        *("input_x_gradient", "integrated_gradients", "gradient_shap", "neuron_conductance"),
        *("deep_lift", "deep_lift_shap", "lrp", "pattern_attribution", "noise_tunnel"),
        *("layer_integrated_gradients", "layer_conductance", "layer_deep_lift"),
        *("layer_gradient_shap", "layer_gradient_x_activation"),
    }
    assert default_by(Saliency().meaning) == "interpolation"


def test_the_words_of_a_unit_do_not_decide_how_a_map_is_carried() -> None:
    for meaning in (row.meaning for row in ROWS.values()):
        for words in ("of the target's unit", "{target}"):
            other = replace(meaning, unit=words)
            assert (kept_of(other), default_by(other)) == (kept_of(meaning), default_by(meaning))
