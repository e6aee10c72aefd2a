"""RISE: its mean over masks written out, its masks, and what only active windows cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from esegeta.errors import ConfigError
from esegeta.explain import Baseline, Features, Objective, Rise
from esegeta.explain.perturbation.rise import SmoothMasks
from esegeta.targets import PointRegion, VoxelTarget
from esegeta.volume import volume_from_tensor
from tests.builders import linear, predictor, unet, volume
from tests.networks import Counting
from tests.oracles import everywhere, frozen, linear_weights, monai_prediction, relative_gap

pytestmark = pytest.mark.usefixtures("whole_windows")

SHAPES = {2: (13, 5), 3: (9, 11, 5)}
BLURRED = Baseline("blur", sigma_mm=2.0)


def whole(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


@pytest.mark.parametrize("of", ["logit", "log_probability"])
def test_equals_brute_force(ndim: int, of: str) -> None:
    shape = SHAPES[ndim]
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(shape, 2)
    target = frozen(model, image, everywhere(of=of))
    method = Rise(baseline=BLURRED, samples=12, cell_mm=3.0, keep=0.4, spread=True)
    found = method.explain(model, image, target)
    masks = SmoothMasks.draw(method, Objective.of(model, target, image))
    start = BLURRED.of(image)
    fields, values = [], []
    for place in range(12):
        mask = masks.of(place, whole(shape))
        with torch.no_grad():
            moved = image.data * mask + start * (1 - mask)
            values.append(target.value(monai_prediction(model, moved[None]))[0])
        fields.append(mask)
    value = torch.stack(values)
    kept = torch.stack(fields).double()
    above = (value - value.mean()).reshape(12, *(1,) * ndim) / 0.4
    assert relative_gap(found.data[0], (above * kept).mean(dim=0)) < 1e-4
    terms = above * (kept - kept.mean(dim=0))
    assert found.facts.more["mean_value"] == pytest.approx(float(value.mean()), rel=1e-5)
    assert found.standard_error is not None
    assert relative_gap(found.standard_error[0], terms.std(dim=0) / 12**0.5) < 1e-4


def test_masks_are_shifted_grids_interpolated_linearly(ndim: int) -> None:
    """With whole cells and whole shifts they are torch's interpolation of the grid, cut out."""
    grids = torch.rand((2, *(4, 5, 3)[:ndim]))
    shifts = torch.tensor([[0.25, 0.5, 0.75], [0.0, 0.75, 0.5]])[:, :ndim]
    masks = SmoothMasks(grids, shifts, (4.0,) * ndim)
    mode = {2: "bilinear", 3: "trilinear"}[ndim]
    box = tuple(slice(start, start + 6) for start in (2, 0, 1)[:ndim])
    for place in range(2):
        full = F.interpolate(grids[place][None, None], scale_factor=4, mode=mode)[0, 0]
        moved = [int(4 * shift) for shift in shifts[place].tolist()]
        cut = tuple(slice(s.start + m, s.stop + m) for s, m in zip(box, moved, strict=True))
        torch.testing.assert_close(masks.of(place, box), full[cut])


def test_each_voxel_is_kept_as_often_as_asked_for() -> None:
    image = volume_from_tensor(torch.zeros(1, 20, 14), spacing_mm=(1.0, 2.0))
    model = predictor(unet(2), (8, 8))
    method = Rise(samples=1500, cell_mm=6.0, keep=0.3)
    masks = SmoothMasks.draw(method, Objective.of(model, frozen(model, image), image))
    assert masks.cell_vox == (6.0, 3.0)
    fields = torch.stack([masks.of(place, whole((20, 14))) for place in range(1500)])
    assert (fields.mean(dim=0) - 0.3).abs().max() < 0.05
    assert float(fields.min()) >= 0
    assert float(fields.max()) <= 1
    assert float((fields.amax(dim=(1, 2)) - fields.amin(dim=(1, 2))).mean()) > 0.8


def test_the_map_of_a_linear_network_is_the_covariance_of_value_and_feature(ndim: int) -> None:
    """R = sum of what is kept, so that a feature's map is (1 - p) times its own sum."""
    model = predictor(linear(ndim), (8,) * ndim)
    image = volume({2: (8, 8), 3: (8, 8, 4)}[ndim])
    target = frozen(model, image)
    features = Features("blocks", side_mm=4.0)
    method = Rise(features, "zero", samples=6000, keep=0.4)
    found = method.explain(model, image, target).data[0]
    labels = features.of(image).labels
    worth = (linear_weights(model, target) * image.data)[0]
    expected = torch.zeros_like(worth)
    for region in range(int(labels.max()) + 1):
        expected[labels == region] = 0.6 * worth[labels == region].sum()
    assert relative_gap(found, expected) < 0.1


@pytest.mark.parametrize("features", [None, Features("blocks", side_mm=4.0)], ids=["smooth", "4mm"])
def test_only_active_windows_are_run_and_the_rest_is_zero(
    ndim: int, features: Features | None
) -> None:
    network = Counting(unet(ndim))
    model = predictor(network, (8,) * ndim)
    image = volume((24, 12, 8)[:ndim])
    target = frozen(model, image, VoxelTarget("one", over=PointRegion((2.0,) * ndim)))
    network.windows = 0
    method = Rise(features, baseline="zero", samples=10, cell_mm=4.0, spread=True)
    found = method.explain(model, image, target)
    assert network.windows <= 11
    assert found.facts.more["windows_by_brute_force"] == 11 * found.facts.num_windows
    assert found.standard_error is not None
    for data in (found.data, found.standard_error):
        assert not data[0, 8:].any()
        assert not data[0, :, 8:].any()
        assert (data[0][(slice(0, 8),) * ndim] != 0).any()


@pytest.mark.parametrize(
    ("features", "keep"),
    [(None, 0.8), (Features("blocks", side_mm=4.0), 0.5)],
    ids=["smooth", "4mm"],
)
@pytest.mark.slow
def test_the_spread_over_seeds_equals_the_standard_error(
    features: Features | None, keep: float
) -> None:
    image, model = volume((8, 8)), predictor(unet(2), (8, 8), batch_size=60)
    target = frozen(model, image)
    method = Rise(features, "zero", samples=60, cell_mm=4.0, keep=keep, spread=True)
    runs = [replace(method, seed=seed).explain(model, image, target) for seed in range(60)]
    spread = torch.stack([run.data for run in runs]).var(dim=0).mean().sqrt()
    told = torch.stack([run.standard_error for run in runs if run.standard_error is not None])
    assert 0.85 < float(told.square().mean().sqrt() / spread) < 1.2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"samples": 1}, "samples: 1"),
        ({"cell_mm": 0.0}, "cell_mm: 0"),
        ({"keep": 1.0}, "keep: 1 is outside"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(keys: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rise(**keys)
