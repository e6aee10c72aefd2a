"""Blending by closed form: constants stay, averages are written out, and the transpose is exact."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from esegeta.predict import (
    CotangentShares,
    LayerGrid,
    LinearForm,
    Pieces,
    Predictor,
    Term,
    WindowBlend,
    WindowPlan,
    Windows,
    WindowSum,
    inner,
)
from tests.builders import labels
from tests.networks import Smooth
from tests.oracles import monai_prediction

PLANS = {
    "2d": (WindowPlan((8, 6)), (13, 11)),
    "2d, constant": (WindowPlan((8, 6), overlap=0.3, blend="constant"), (13, 11)),
    "2d, padded": (WindowPlan((8, 8)), (5, 11)),
    "3d": (WindowPlan((8, 6, 4), overlap=(0.5, 0.25, 0.0)), (9, 11, 7)),
    "3d, padded": (WindowPlan((8, 8, 8)), (5, 3, 9)),
    "slices": (WindowPlan((8, 6), slice_axis=0), (3, 9, 11)),
    "padded slices": (WindowPlan((8, 6), slice_axis=1), (5, 3, 11)),
}
BATCH = 2


@pytest.fixture(params=PLANS)
def windows(request: pytest.FixtureRequest) -> Windows:
    plan, shape = PLANS[request.param]
    return plan.lay(shape)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def patches_of(windows: Windows, channels: int = 3) -> tuple[list[int], list[int], Tensor]:
    """Return windows, images and patches of a batch of two, in an order of no meaning."""
    places = [(image, window) for window in range(len(windows)) for image in range(BATCH)][::-1]
    images, indices = zip(*places, strict=True)
    return list(indices), list(images), random(len(places), channels, *windows.size)


def at(windows: Windows, indices: Sequence[int], images: Sequence[int]) -> Pieces:
    boxes = tuple(windows.boxes[index] for index in indices)
    return Pieces(torch.zeros(len(boxes)), tuple(images), tuple(indices), boxes)


def laid_one_by_one(windows: Windows, weight: Tensor) -> Tensor:
    """Return the sum and the blend of `patches_of`, patch by patch in buffers of their own."""
    indices, images, patches = patches_of(windows)
    total = torch.zeros((BATCH, patches.shape[1], *windows.padded_shape), dtype=torch.float64)
    for index, image, patch in zip(indices, images, patches, strict=True):
        alone = torch.zeros(total.shape[1:], dtype=torch.float64)
        alone[(slice(None), *windows.boxes[index])] = weight * patch
        total[image] += alone
    return total


def test_a_window_sum_adds_patches_at_their_places(windows: Windows) -> None:
    indices, images, patches = patches_of(windows)
    total = WindowSum(windows, patches, num_images=BATCH)
    half = len(indices) // 2
    for part in (slice(half), slice(half, None)):
        total.add(indices[part], patches[part], images=images[part])
    expected = windows.crop(laid_one_by_one(windows, torch.ones((), dtype=torch.float64)))
    torch.testing.assert_close(total.result(), expected, rtol=1e-12, atol=1e-12)


def test_a_blend_is_the_weighted_mean_over_windows(windows: Windows) -> None:
    indices, images, patches = patches_of(windows)
    weight = windows.importance(patches.device, patches.dtype)
    coverage = torch.zeros(windows.padded_shape, dtype=torch.float64)
    for box in windows.boxes:
        coverage[box] += weight
    blend = WindowBlend(windows, patches, num_images=BATCH)
    blend.add(indices, patches, images=images)
    expected = windows.crop(laid_one_by_one(windows, weight) / coverage)
    torch.testing.assert_close(blend.result(), expected, rtol=1e-12, atol=1e-12)


def test_weights_add_up_to_one(windows: Windows) -> None:
    blend = WindowBlend(windows, torch.zeros((), dtype=torch.float64))
    blend.add(range(len(windows)), torch.ones((len(windows), 1, *windows.size)))
    found = blend.result()
    assert found.shape == (1, 1, *windows.shape)
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-12)


def test_patches_may_come_with_their_weights(windows: Windows) -> None:
    _, _, patches = patches_of(windows)
    patches = patches[: len(windows)]
    one, other = WindowBlend(windows, patches), WindowBlend(windows, patches)
    one.add(range(len(windows)), patches)
    other.add_weighted(range(len(windows)), patches * other.weights)
    torch.testing.assert_close(one.result(), other.result(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_shares_are_the_transpose_of_the_blend(windows: Windows, scale: float) -> None:
    """<blend(p), g> = sum_t <p_t, share_t(g)>, each image of a batch with its own g."""
    indices, images, patches = patches_of(windows)
    blend = WindowBlend(windows, patches, num_images=BATCH)
    blend.add(indices, patches, images=images)
    cotangent = random(BATCH, patches.shape[1], *windows.shape, seed=1)
    shares = CotangentShares(windows, cotangent, scale=scale)
    worth = inner(patches, shares.of(at(windows, indices, images), patches.device)) * scale
    found = blend.result()
    for image in range(BATCH):
        mine = worth[torch.tensor(images) == image].sum()
        expected = (found[image] * cotangent[image]).sum()
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


def test_a_linear_form_has_the_shares_of_its_dense_tensor(windows: Windows) -> None:
    indices, images, _ = patches_of(windows)
    form = LinearForm((Term(1, random(*windows.shape)),), 3, windows.shape, torch.float64)
    pieces = at(windows, indices, images)
    one = CotangentShares(windows, form).of(pieces, form.device)
    other = CotangentShares(windows, form.dense()[None]).of(pieces, form.device)
    assert torch.equal(one, other)


def test_cutting_is_the_transpose_of_the_sum(windows: Windows) -> None:
    """<sum_t p_t, x> = sum_t <p_t, x_t>: gradients of windows add up to that of the volume."""
    indices, images, patches = patches_of(windows)
    total = WindowSum(windows, patches, num_images=BATCH)
    total.add(indices, patches, images=images)
    x = random(BATCH, patches.shape[1], *windows.shape, seed=2)
    cut = windows.cut(windows.pad(x), indices, images=images)
    expected = (cut * patches).sum()
    torch.testing.assert_close((total.result() * x).sum(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blended_logits_are_those_of_monai(plan: str, dtype: torch.dtype) -> None:
    how, shape = PLANS[plan]
    model = Predictor(Smooth(len(how.size)).to(dtype), how, labels(), batch_size=3)
    x = torch.randn(BATCH, 1, *shape).to(dtype)
    found = model.logits(x)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-6
    torch.testing.assert_close(found, monai_prediction(model, x), rtol=tolerance, atol=tolerance)


def test_images_of_a_batch_are_blended_on_layer_grids_too(windows: Windows) -> None:
    thin = windows.slice_axis
    layer = [length for axis, length in enumerate(windows.size) if axis != thin]
    layer[0] //= 2
    patches = random(len(windows), 2, *layer)
    grid = LayerGrid.of(windows, patches)
    both = WindowBlend(grid, patches, num_images=2)
    both.add(range(len(windows)), patches, images=[1] * len(windows))
    both.add(range(len(windows)), 0 * patches)
    alone = WindowBlend(grid, patches)
    alone.add(range(len(windows)), patches)
    found = both.result()
    assert found.shape == (2, 2, *grid.shape)
    assert not found[0].any()
    assert torch.equal(found[1], alone.result()[0])


def test_the_buffer_is_like_the_input_and_keeps_no_graph(windows: Windows) -> None:
    x = torch.zeros(1, dtype=torch.float64)
    for kind in (WindowSum, WindowBlend):
        total = kind(windows, x)
        total.add([0], torch.ones((1, 2, *windows.size), requires_grad=True))
        found = total.result()
        assert found.dtype == torch.float64 and not found.requires_grad


def test_the_result_of_a_blend_can_be_taken_once() -> None:
    windows = WindowPlan((4, 4)).lay((4, 4))
    blend = WindowBlend(windows, torch.zeros(()))
    blend.add([0], torch.ones(1, 1, 4, 4))
    blend.result()
    with pytest.raises(ValueError, match="nothing was added"):
        blend.result()


def test_a_sum_of_no_windows_is_zero_where_its_channels_are_known() -> None:
    windows = WindowPlan((4, 4)).lay((3, 7))
    assert not WindowSum(windows, torch.zeros(()), num_channels=3).result().any()
    assert WindowSum(windows, torch.zeros(()), num_channels=3).result().shape == (1, 3, 3, 7)
    with pytest.raises(ValueError, match="nothing was added"):
        WindowSum(windows, torch.zeros(())).result()
