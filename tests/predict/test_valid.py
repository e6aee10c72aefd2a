"""Outputs of another shape than their window: exact prediction, gradient and contributions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from esegeta.errors import ModelError, WindowError
from esegeta.predict import Predictor, WindowPlan, active_windows, count_outputs, probe_output
from esegeta.predict.coverage import layer_extents
from esegeta.predict.probe import STEPS
from tests.builders import labels, predictor
from tests.networks import (
    Counting,
    Strided,
    Valid,
    beyond_the_window,
    double_resolution,
    half_of_the_middle,
    half_resolution,
)
from tests.oracles import gradient_of, relative_gap
from tests.predict.valid import covering, slow_prediction

TOLERANCE = 1e-5

NETWORKS: dict[str, tuple[Callable[[int], nn.Module], int, int, int]] = {
    "valid": (Valid, 14, 6, 6),
    "half resolution": (half_resolution, 8, 8, 8),
    "double resolution": (double_resolution, 6, 6, 6),
    "half of the middle": (half_of_the_middle, 10, 8, 8),
    "beyond the window": (beyond_the_window, 6, 6, 8),
    "an odd margin": (
        lambda ndim: nn.Sequential((nn.Conv2d if ndim == 2 else nn.Conv3d)(1, 2, 4)),
        8,
        5,
        5,
    ),
}
"""Networks; lengths of a window, of the voxels that are put out, and that are interpolated to."""

SHAPES = {2: [(17, 9), (5, 3)], 3: [(9, 5, 7), (3, 7, 5)]}


def made(kind: str, ndim: int, **plan: object) -> tuple[Predictor, dict[str, object]]:
    """Return a predictor, and what the slow rewrite takes."""
    make, window, output, stretched = NETWORKS[kind]
    torch.manual_seed(0)
    network = make(ndim)
    model = predictor(network, (window,) * ndim)
    model = covering(replace(model, plan=replace(model.plan, **plan)))
    how = {
        "window": (window,) * ndim,
        "output": (output,) * ndim,
        "stretched": (stretched,) * ndim,
        **plan,
    }
    return model, how


@pytest.mark.parametrize(
    ("ndim", "padding"), [(2, "zeros"), (2, "edge"), (2, "reflect"), (3, "reflect")]
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_prediction_and_gradient_are_those_of_a_slow_rewrite(
    kind: str, ndim: int, padding: str
) -> None:
    model, how = made(kind, ndim, padding=padding, overlap=0.2)
    for shape in SHAPES[ndim]:
        x, slope = torch.randn(2, 1, *shape), torch.randn(2, 2, *shape)

        def slow(x: torch.Tensor, how: dict[str, object] = how) -> torch.Tensor:
            return slow_prediction(model.network, x, **how)

        with torch.no_grad():
            assert relative_gap(model(x), slow(x)) < TOLERANCE
        found = gradient_of(lambda x, slope=slope: (model(x) * slope).sum(), x)
        expected = gradient_of(lambda x, slope=slope, slow=slow: (slow(x) * slope).sum(), x)
        assert relative_gap(found, expected) < TOLERANCE
        pulled = model.pull_back(x, slope)
        assert relative_gap(pulled.gradient, expected) < TOLERANCE
        value = (slow(x).detach().double() * slope).flatten(1).sum(dim=1)
        torch.testing.assert_close(pulled.value, value, rtol=1e-4, atol=1e-4)
        active = active_windows(model.windows(x), slope)
        parts = model.contributions(x, slope, active).sum(dim=1)
        torch.testing.assert_close(parts, value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("ndim", "overlap", "blend"),
    [
        *(
            (2, overlap, blend)
            for overlap in (0.0, 0.25, 0.8)
            for blend in ("gaussian", "constant")
        ),
        (3, 0.5, "gaussian"),
        (3, 0.0, "constant"),
    ],
)
def test_overlap_and_blending_apply_to_the_outputs(ndim: int, overlap: float, blend: str) -> None:
    model, how = made("valid", ndim, overlap=overlap, blend=blend)
    x = torch.randn(1, 1, *(19, 14, 8)[:ndim])
    with torch.no_grad():
        assert relative_gap(model(x), slow_prediction(model.network, x, **how)) < TOLERANCE


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_2d_network_goes_slice_by_slice(axis: int) -> None:
    plan = WindowPlan((14, 12), overlap=(0.5, 0.25), slice_axis=axis, padding="reflect")
    model = covering(Predictor(Valid(2), plan, labels(), batch_size=3))
    x = torch.randn(1, 1, 7, 9, 8)
    flat = replace(model, plan=replace(model.plan, slice_axis=2))
    expected = torch.stack([flat(one) for one in x.unbind(axis + 2)], dim=axis + 2)
    assert relative_gap(model(x), expected) < TOLERANCE
    slope = torch.randn(1, 2, 7, 9, 8)
    pairs = zip(x.unbind(axis + 2), slope.unbind(axis + 2), strict=True)
    slices = [flat.pull_back(*pair).gradient for pair in pairs]
    found = model.pull_back(x, slope).gradient
    assert relative_gap(found, torch.stack(slices, dim=axis + 2)) < TOLERANCE


def test_windowed_is_whole_where_it_fits(ndim: int) -> None:
    """Valid convolutions know nothing of where a window ends: tiles are the whole, padded once."""
    network = Valid(ndim)
    shape = (24, 18, 12)[:ndim]
    x = torch.randn(1, 1, *shape)
    tiled = covering(predictor(network, (14,) * ndim, overlap=0.0))
    whole = covering(predictor(network, tuple(n + 8 for n in shape)))
    assert len(whole.windows(x)) == 1
    assert relative_gap(tiled(x), whole(x)) < TOLERANCE
    slope = torch.randn(1, 2, *shape)
    assert (
        relative_gap(tiled.pull_back(x, slope).gradient, whole.pull_back(x, slope).gradient)
        < TOLERANCE
    )


@pytest.mark.parametrize("padding", ["zeros", "edge", "reflect"])
def test_gradcheck_in_float64(ndim: int, padding: str) -> None:
    model = covering(predictor(Valid(ndim), (12,) * ndim, overlap=0.0))
    model = replace(
        model, network=model.network.double(), plan=replace(model.plan, padding=padding)
    )
    x = torch.randn(1, 1, *(5, 3, 4)[:ndim], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,), atol=1e-7, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("shape", [(40, 17), (20, 5, 18)])
def test_only_windows_whose_outputs_hold_the_target_are_run(shape: tuple[int, ...]) -> None:
    network = Counting(Valid(len(shape)))
    model = covering(predictor(network, (12,) * len(shape)))
    x = torch.randn(1, 1, *shape)
    cotangent = torch.zeros(1, 2, *shape)
    cotangent[(0, 1, *(n - 1 for n in shape))] = 3.0
    network.windows = 0
    pulled = model.pull_back(x, cotangent)
    assert network.windows == pulled.num_active == 1 < pulled.num_windows
    how = {"window": (12,) * len(shape), "output": (4,) * len(shape)}
    expected = gradient_of(
        lambda x: (slow_prediction(network.inner, x, **how) * cotangent).sum(), x
    )
    assert relative_gap(pulled.gradient, expected) < TOLERANCE
    network.windows = 0
    mask = cotangent[0, 1] != 0
    part = model.logits(x, over=mask)
    assert network.windows == 1
    torch.testing.assert_close(part[..., mask], model.logits(x)[..., mask])


@pytest.mark.parametrize("padding", ["zeros", "edge", "reflect"])
def test_an_edit_touches_all_windows_that_see_it(ndim: int, padding: str) -> None:
    """Brute force: windows whose input changes when a voxel does, copies in the padding too."""
    plan = WindowPlan((12,) * ndim, padding=padding)
    plan = covering(Predictor(Valid(ndim), plan, labels())).plan
    shape = (9, 5, 11)[:ndim]
    windows = plan.lay(shape)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        voxel = tuple(int(torch.randint(n, (1,), generator=generator)) for n in shape)
        x = torch.zeros(1, 1, *shape)
        x[(0, 0, *voxel)] = 1
        padded = windows.pad_image(x)
        expected = [index for index in range(len(windows)) if windows.cut(padded, [index]).any()]
        box = tuple(slice(place, place + 1) for place in voxel)
        assert windows.touching_box(box) == expected
        assert windows.seeing(x[0, 0] > 0) == expected
        assert set(windows.touching(x[0, 0] > 0)) <= set(expected)


def test_the_probe_finds_the_voxels_that_an_output_covers(ndim: int) -> None:
    for kind, (make, window, output, stretched) in NETWORKS.items():
        coverage = probe_output(make(ndim), (window,) * ndim, 1).coverage
        assert coverage is not None, kind
        assert coverage.voxels == (stretched,) * ndim, kind
        assert coverage.within((window,) * ndim) == (output,) * ndim, kind


def test_the_extent_of_a_layer_follows_its_stride(ndim: int) -> None:
    coverage = probe_output(Valid(ndim), (14,) * ndim, 1).coverage
    assert coverage is not None
    expected = {"enter": 12, "pool": 12, "deep": 8, "up": 8, "merge": 6, "head": 6}
    for name, covered in expected.items():
        assert coverage.layers[name] == (covered,) * ndim


def test_layers_without_positions_of_their_own_cover_the_window() -> None:
    shapes = {"middle": (6, 6), "half": (4, 4), "flat": (72,), "once": (2, 2)}
    others = {"middle": (4, 4), "half": (3, 3), "flat": (32,)}
    assert layer_extents((8, 8), (6, 6), shapes, others) == {"middle": (6, 6)}


def test_a_network_that_only_rounds_its_window_is_still_refused(ndim: int) -> None:
    with pytest.raises(WindowError, match="multiple of 4"):
        probe_output(Strided(ndim, 2), (10,) * ndim, 1)


def test_no_large_windows_are_tried_where_nothing_is_rounded(ndim: int) -> None:
    """A window of 128 voxels a side may be more than fits, and takes long in 3D."""
    network, lengths = Valid(ndim), []
    network.register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[-1]))
    assert probe_output(network, (14,) * ndim, 1).coverage is not None
    assert max(lengths) <= 14 + max(STEPS)


def test_a_network_that_keeps_its_window_is_probed_once(ndim: int) -> None:
    network = Counting(nn.Identity())
    assert probe_output(network, (8,) * ndim, 1).coverage is None
    assert network.windows == 1


def test_training_of_a_network_that_shrinks_windows_is_refused(ndim: int) -> None:
    with pytest.raises(ModelError, match="keep the shape"):
        count_outputs(Valid(ndim), (14,) * ndim, 1)


def test_an_output_shape_unlike_the_probed_one_is_refused(ndim: int) -> None:
    class Moody(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            cut = 1 if bool(x.any()) else 2
            return x[:, :, *[slice(cut, -cut)] * ndim].repeat(1, 2, *[1] * ndim)

    model = covering(predictor(Moody(), (8,) * ndim))
    with pytest.raises(ModelError, match="must have the same shape for all windows"):
        model(torch.ones(1, 1, *(9,) * ndim))


def test_an_output_of_no_known_resolution_is_refused(ndim: int) -> None:
    class Pooled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pool = (
                nn.functional.adaptive_avg_pool2d
                if ndim == 2
                else nn.functional.adaptive_avg_pool3d
            )
            return pool(x, (3,) * ndim)

    with pytest.raises(ModelError, match="returned 3x3"):
        probe_output(Pooled(), (8,) * ndim, 1)
