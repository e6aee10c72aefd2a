"""What holds for every method where outputs are smaller than windows: tiled is whole.

Valid convolutions know nothing of where a window ends. So each activation, logit and slope of the
volume is the same in all windows that have it, and the map over overlapping tiles is that of one
window over all of it: with a layer's positions, the padding and its copies in the right place.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esegeta.explain import EXPLAINERS, Explainer, Features
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import FrozenTarget, Scene, UnitTarget
from tests.builders import labels, volume
from tests.contracts import rows_backprop
from tests.contracts.explainers import ALL, ROWS, mostly_in_2d
from tests.networks import Valid
from tests.oracles import frozen, relative_gap, with_coefficients
from tests.predict.valid import covering

TOLERANCE = 1e-4
SHAPES = {2: (20, 14), 3: (16, 10, 8)}
SHIFT = {2: 0.12, 3: 0.14}
"""Of a logit, so that some voxels are predicted as the label, and none of an empty image."""
PADDING = {2: "reflect", 3: "edge"}


def model_over(window: tuple[int, ...], padding: str = "zeros") -> Predictor:
    plan = WindowPlan(window, padding=padding)
    network = Valid(len(window))
    network.head.bias.data[1] += SHIFT[len(window)]
    return covering(Predictor(network, plan, labels(), batch_size=2))


RECTIFIED = {"guided_backprop", "deconvolution", "guided_grad_cam"}
"""Window by window, so that it matters how what flows back is shared out among windows."""


def target_of(model: Predictor, shape: tuple[int, ...]) -> FrozenTarget:
    weights = torch.rand((2, *shape), generator=torch.Generator().manual_seed(1)) - 0.3
    return with_coefficients(frozen(model, volume(shape)), weights)


def few(method: str) -> Explainer:
    """Return a method as the table has it, for as many features as there are here."""
    row = ROWS[method]
    if method == "exact_shapley":
        return replace(row, features=Features("blocks", side_mm=8.0))
    if method == "misure":
        return replace(row, baseline="zero")
    return replace(row, samples=64) if method in ("kernel_shap", "lime") else row


TILED = mostly_in_2d([name for name in ALL if name not in rows_backprop.FITTED])


@pytest.mark.slow
@pytest.mark.parametrize(("ndim", "method"), TILED)
def test_tiled_is_whole(ndim: int, method: str) -> None:
    shape, padding = SHAPES[ndim], PADDING[ndim]
    tiled = model_over((16,) * ndim, padding)
    whole = model_over(tuple(n + 8 for n in shape), padding)
    image = volume(shape)
    assert len(tiled.windows(image.batch)) > len(whole.windows(image.batch)) == 1
    explainer = few(method)
    targets = [target_of(model, shape) for model in (tiled, whole)]
    layers = ["enter", "deep_act"] if EXPLAINERS[method].traits.needs_layer else [None]
    for layer in layers:
        explainer = explainer if layer is None else replace(explainer, layer=layer)
        found, expected = (
            explainer.explain(model, image, target)
            for model, target in zip((tiled, whole), targets, strict=True)
        )
        assert found.data.isfinite().all()
        # From coarse positions to voxels each window is interpolated by itself.
        if method not in RECTIFIED and layer != "deep_act":
            assert relative_gap(found.data, expected.data) < TOLERANCE
        for one, other in zip(found.layer_maps, expected.layer_maps, strict=True):
            assert one.grid.shape == other.grid.shape
            assert (one.grid.affine == other.grid.affine).all()
            assert relative_gap(one.data, other.data) < TOLERANCE


@pytest.mark.parametrize("method", [name for name in ALL if name in rows_backprop.FITTED])
def test_fitted_methods_run(ndim: int, method: str) -> None:
    model, image = model_over((16,) * ndim), volume(SHAPES[ndim])
    found = ROWS[method].explain(model, image, target_of(model, image.grid.shape))
    assert found.data.isfinite().all() and found.data.std() > 0


@pytest.mark.parametrize(
    "method", ["saliency", "occlusion", "hires_cam", "lrp", "layer_activation"]
)
def test_a_2d_network_over_slices(method: str) -> None:
    flat = model_over((16, 16), "edge")
    model = replace(flat, plan=replace(flat.plan, slice_axis=0))
    image = volume((2, 11, 14))
    explainer = ROWS[method]
    if method == "occlusion":
        explainer = replace(explainer, box=(1, 4, 4), stride=(1, 4, 4))
    weights = torch.zeros(2, 2, 11, 14)
    weights[:, 1] = torch.rand(2, 11, 14) + 0.1
    found = explainer.explain(model, image, with_coefficients(frozen(model, image), weights)).data
    if method == "occlusion":
        explainer = replace(explainer, box=(4, 4), stride=(4, 4))
    one = volume((11, 14)).with_data(image.data[:, 1].clone())
    target = with_coefficients(frozen(flat, one), weights[:, 1])
    expected = explainer.explain(flat, one, target).data
    assert relative_gap(found[:, 1], expected) < TOLERANCE


@pytest.mark.parametrize("layer", ["enter", "pool", "deep", "merge"])
def test_units_lie_where_their_layer_sees(ndim: int, layer: str) -> None:
    """The blended map of a unit is that of the whole volume's own layer, by plain torch."""
    shape = SHAPES[ndim]
    stride = 2 if layer in ("pool", "deep") else 1
    # From coarse positions to voxels each window is interpolated by itself.
    window = (16,) * ndim if stride == 1 else tuple(n + 8 for n in shape)
    model, image = model_over(window, "zeros"), volume(shape)
    target = UnitTarget(layer, 1).freeze(Scene(model, image))
    network = model.network
    assert isinstance(network, Valid)
    padded = torch.nn.functional.pad(image.batch, (4,) * 2 * ndim)
    with torch.no_grad():
        found = {"enter": network.enter(padded)}
        found["pool"] = network.pool(network.act(found["enter"]))
        found["deep"] = network.deep(found["pool"])
        found["merge"] = tap_of(network, "merge", padded)
    own = found[layer][:, 1:2]
    covered = tuple(stride * n for n in own.shape[2:])
    cut = [(n + 8 - c) // 2 for n, c in zip(shape, covered, strict=True)]
    mode = "bilinear" if ndim == 2 else "trilinear"
    on_voxels = torch.nn.functional.interpolate(own, covered, mode=mode, align_corners=False)
    inner = on_voxels[:, :, *(slice(4 - c, 4 - c + n) for c, n in zip(cut, shape, strict=True))]
    prediction = target.scene.logits
    assert prediction.shape == inner.shape
    torch.testing.assert_close(prediction, inner)


def tap_of(network: Valid, layer: str, x: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    network(x)
    handle.remove()
    return seen[0]
