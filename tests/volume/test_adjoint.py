"""Slopes carried back to the voxels of the file: against dense matrices, and finite differences.

The matrices and the chains that are differenced are NumPy's, from `references`; none of the code
that is tested makes them.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from esegeta.explain import Saliency
from esegeta.targets import REGIONS, VoxelTarget
from esegeta.volume import (
    Crop,
    CropOrPad,
    Grid,
    Intensity,
    Preprocess,
    Volume,
    grid_of_spacing,
    intensity_of,
    volume_from_tensor,
)
from esegeta.volume.carried import carry_path, carry_slope_bounds, carry_slopes
from tests.builders import affine_of, predictor
from tests.volume.files import noise
from tests.volume.references import (
    nnunet_ct,
    nnunet_resample,
    nnunet_zscore,
    nonzero_box,
    nonzero_mask,
)

SHAPE = (6, 5, 4)
SPACING = (1.0, 1.2, 5.0)
Forward = Callable[[np.ndarray], np.ndarray]


def image(num_channels: int = 2) -> np.ndarray:
    """Noise in a box that leaves a border of zeros on most sides, float64."""
    data = np.zeros((num_channels, *SHAPE))
    data[:, 1:6, 0:4, 1:4] = noise((num_channels, 5, 4, 3)) * 30 + 200
    return data


def volume(data: np.ndarray, spacing: tuple[float, ...] = SPACING) -> Volume:
    affine = grid_of_spacing(data.shape[1:], spacing).affine
    return volume_from_tensor(torch.from_numpy(data), affine=affine).with_data(
        torch.from_numpy(data)
    )


def between(grid: Grid, onto: Grid) -> Forward:
    """Linear interpolation by places in mm, with the border's value beyond it."""

    def forward(data: np.ndarray) -> np.ndarray:
        index = np.indices(onto.shape).reshape(onto.ndim, -1)
        turn = np.linalg.inv(grid.affine) @ onto.affine
        n = onto.ndim
        places = (turn[:n, :n] @ index + turn[:n, 3:]).reshape(n, *onto.shape)
        ends = np.asarray(grid.shape).reshape(n, *[1] * n) - 1
        places = np.clip(places, 0, ends)
        return np.stack([ndimage.map_coordinates(channel, places, order=1) for channel in data])

    return forward


def padded(data: np.ndarray) -> np.ndarray:
    """(6, 5, 4) to (4, 8, 4) about the centre."""
    return np.pad(data[:, 1:5], [(0, 0), (0, 0), (1, 2), (0, 0)])


def linear_chains() -> dict[str, tuple[Preprocess, Forward]]:
    """Chains without a constant, and what they are in NumPy."""
    box = nonzero_box(image())
    spaced = Preprocess(None, (1.4, 0.9, 3.5))
    scaled = intensity_of(
        [
            {"rescale": {"scale": -2.5}, "channels": [1], "when": "before_resampling"},
            {"rescale": {"scale": 0.3}, "channels": [0]},
        ]
    )
    scales = np.array([0.3, -2.5]).reshape(2, 1, 1, 1)

    def coarse(data: np.ndarray) -> np.ndarray:
        return nnunet_resample(data, SPACING, (0.7, 1.9, 3.3), order=1)

    return {
        "crop": (Preprocess(crop=Crop()), lambda x: x[(slice(None), *box)]),
        "pad": (Preprocess(crop_or_pad=CropOrPad((4, 8, 4))), padded),
        "transpose": (Preprocess(transpose=(2, 0, 1)), lambda x: np.transpose(x, (0, 3, 1, 2))),
        "turn": (Preprocess("SLA"), lambda x: np.transpose(x[:, ::-1], (0, 3, 1, 2))),
        "linear": (spaced, between(*grids(spaced))),
        "channels": (Preprocess(intensity=scaled), lambda x: x * scales),
        "coarse": (Preprocess(None, (0.7, 1.9, 3.3), separate_axis="auto"), coarse),
        "all": (
            Preprocess(
                None,
                (3.3, 0.7, 1.9),
                scaled,
                separate_axis="auto",
                crop=Crop(),
                crop_or_pad=CropOrPad((3, 11, 2)),
                transpose=(2, 0, 1),
            ),
            lambda x: everything(x, box) * scales,
        ),
    }


def everything(data: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    turned = np.transpose(data[(slice(None), *box)], (0, 3, 1, 2))
    moved = nnunet_resample(turned, (5.0, 1.0, 1.2), (3.3, 0.7, 1.9), order=1)
    assert moved.shape[1:] == (5, 7, 3)
    return np.pad(moved[:, 1:4, :, 0:2], [(0, 0), (0, 0), (2, 2), (0, 0)])


def grids(chain: Preprocess) -> tuple[Grid, Grid]:
    grid = volume(image()).grid
    return grid, chain.route(grid).onto(grid)


CHAINS = linear_chains()


def dense(forward: Forward) -> np.ndarray:
    """Return the matrix of a linear map of two channels: a column an input voxel."""
    units = np.eye(2 * np.prod(SHAPE)).reshape(-1, 2, *SHAPE)
    return np.stack([forward(unit).ravel() for unit in units], axis=1)


@pytest.mark.parametrize("name", CHAINS)
def test_preprocessing_equals_its_matrix(name: str) -> None:
    chain, forward = CHAINS[name]
    seen = chain(volume(image())).data
    np.testing.assert_allclose(seen, forward(image()), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", CHAINS)
def test_the_adjoint_is_the_transposed_matrix(name: str) -> None:
    chain, forward = CHAINS[name]
    matrix = dense(forward)
    before = volume(image())
    y = torch.from_numpy(noise(tuple(chain(before).data.shape), 3)).double()
    carried = chain.adjoint(y, before)
    assert carried.dtype == torch.float64
    assert carried.shape == before.data.shape
    np.testing.assert_allclose(carried.numpy().ravel(), matrix.T @ y.numpy().ravel(), atol=1e-12)
    # <A x, y> = <x, A^T y>
    x = noise((2, *SHAPE), 4).astype(np.float64)
    left, right = (matrix @ x.ravel()) @ y.numpy().ravel(), x.ravel() @ carried.numpy().ravel()
    assert left == pytest.approx(right, rel=1e-12)


class Weighted(nn.Module):
    """Logit 1 is `w . x`, where w lies on the window; logit 0 is 0."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.register_buffer("w", w)

    def forward(self, x: Tensor) -> Tensor:
        logit = (self.w * x).sum(1, keepdim=True)  # type: ignore[operator]
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


@pytest.mark.parametrize("name", CHAINS)
def test_the_map_of_a_linear_network_is_its_analytic_gradient_on_the_file(name: str) -> None:
    chain, forward = CHAINS[name]
    before = volume(image())
    seen = chain(before)
    w = torch.from_numpy(noise(tuple(seen.data.shape), 5))
    model = predictor(Weighted(w), seen.grid.shape, overlap=0.0, blend="constant")
    target = VoxelTarget("one", "logit", REGIONS["all"], "sum")
    map_ = Saliency().explain(model, seen, target).data
    in_file = torch.from_numpy(forward(np.ones((2, *SHAPE))) != 0)  # padding is in no target
    assert bool(in_file.all()) == (name not in ("pad", "all"))
    torch.testing.assert_close(map_, w * in_file)
    analytic = (dense(forward).T @ w.double().numpy().ravel()).reshape(2, *SHAPE)
    carried = chain.adjoint(map_, before)
    assert carried.dtype == torch.float32
    np.testing.assert_allclose(carried, analytic, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_a_zscore_includes_mean_and_deviation() -> None:
    data = image(1)
    w = noise((1, *SHAPE), 6).astype(np.float64)
    z = (data - data.mean()) / data.std()
    analytic = (w - w.mean() - z * (w * z).mean()) / data.std()
    for intensity in (Intensity("zscore"), intensity_of(["zscore"])):
        carried = Preprocess(intensity=intensity).adjoint(torch.from_numpy(w), volume(data))
        np.testing.assert_allclose(carried, analytic, rtol=1e-10, atol=1e-12)


def nnunet(data: np.ndarray) -> np.ndarray:
    """Transpose, crop, normalise over the mask and as CT, resample by splines: nnU-Net's order."""
    turned = np.transpose(data, (0, 3, 1, 2))
    box = nonzero_box(turned)
    inside = nonzero_mask(turned)[box]
    cropped = turned[(slice(None), *box)]
    scaled = np.stack(
        [nnunet_zscore(cropped[0], inside), nnunet_ct(cropped[1], 150, 260, 190.0, 33.0)]
    )
    return nnunet_resample(scaled, (5.0, 1.0, 1.2), (2.5, 0.8, 0.9), order=3)


NNUNET = Preprocess(
    None,
    (2.5, 0.8, 0.9),
    intensity_of(
        [
            {"zscore": {"over": "foreground"}, "channels": [0], "when": "before_resampling"},
            {
                "ct": {"clip": [150, 260], "mean": 190.0, "std": 33.0},
                "channels": [1],
                "when": "before_resampling",
            },
        ]
    ),
    order=3,
    separate_axis="auto",
    crop=Crop(),
    transpose=(2, 0, 1),
)


def monai_like(data: np.ndarray) -> np.ndarray:
    """Spacing, then a crop above a value, percentiles, and a size; MONAI's order."""
    moved = between(*grids(Preprocess(None, (1.4, 0.9, 3.5))))(data)
    (box,) = ndimage.find_objects((moved > 170).any(0).astype(int))
    cropped = moved[(slice(None), *box)]
    scaled = []
    for channel in cropped:
        low, high = np.percentile(channel, [10, 85])
        scaled.append(np.clip((channel - low) / (high - low), 0, 1))
    assert cropped.shape[1:] == (4, 5, 4)
    return np.pad(np.stack(scaled), [(0, 0), (1, 1), (0, 0), (0, 0)], constant_values=-1)


MONAI_LIKE = Preprocess(
    None,
    (1.4, 0.9, 3.5),
    intensity_of([{"percentile": [10, 85]}]),
    crop=Crop(above=170, when="after_resampling"),
    crop_or_pad=CropOrPad((6, 5, 4), -1.0),
)

WHOLE = {"nnunet": (NNUNET, nnunet), "monai": (MONAI_LIKE, monai_like)}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.slow
def test_whole_chains_against_finite_differences_of_numpy(name: str) -> None:
    chain, forward = WHOLE[name]
    data = image()
    seen = chain(volume(data))
    np.testing.assert_allclose(seen.data, forward(data), rtol=1e-5, atol=1e-5)
    y = noise(tuple(seen.data.shape), 7).astype(np.float64)
    carried = chain.adjoint(torch.from_numpy(y), volume(data)).numpy()
    step = 1e-5
    differences = np.zeros_like(data)
    for index in zip(*np.nonzero(data), strict=True):
        ahead, behind = data.copy(), data.copy()
        ahead[index] += step
        behind[index] -= step
        differences[index] = ((forward(ahead) - forward(behind)) * y).sum() / (2 * step)
    within = data != 0
    assert np.abs(differences).max() > 0.01
    np.testing.assert_allclose(carried[within], differences[within], rtol=1e-5, atol=1e-7)
    if name == "nnunet":
        assert not carried[~within].any()  # outside the crop nothing has a slope


def test_the_gradient_of_a_clipped_spline_is_that_of_the_image() -> None:
    step = np.zeros((1, 8, 8))
    step[:, 4:] = 1.0
    step += noise((1, 8, 8)) * 1e-3
    chain = Preprocess(None, (0.37, 1.0), order=3)
    before = volume(step, (1.0, 1.0))
    y = noise(tuple(chain(before).data.shape)).astype(np.float64)

    def forward(x: np.ndarray) -> float:
        return float((nnunet_resample(x, (1.0, 1.0), (0.37, 1.0), order=3) * y).sum())

    carried = chain.adjoint(torch.from_numpy(y), before).numpy()
    direction = noise((1, 8, 8), 1).astype(np.float64)
    numeric = (forward(step + 1e-6 * direction) - forward(step - 1e-6 * direction)) / 2e-6
    assert (carried * direction).sum() == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize("kind", ["oblique", "sheared", "flipped"])
def test_the_adjoint_holds_on_any_affine(kind: str) -> None:
    grid = Grid(SHAPE, affine_of(kind))
    data = image()
    before = volume_from_tensor(torch.zeros(2, *SHAPE), affine=grid.affine).with_data(
        torch.from_numpy(data)
    )
    chain = Preprocess("LSA", (1.1, 2.0, 2.1))
    seen = chain(before)
    y = torch.from_numpy(noise(tuple(seen.data.shape))).double()
    carried = chain.adjoint(y, before)
    forward = between(grid, seen.grid)
    x = noise((2, *SHAPE), 2).astype(np.float64)
    left, right = float((forward(x) * y.numpy()).sum()), float((carried.numpy() * x).sum())
    assert left == pytest.approx(right, rel=1e-10)


def test_data_of_unknown_origin_is_carried_back_by_its_position() -> None:
    seen = Preprocess(transpose=(2, 0, 1))(volume(image()))
    other = seen.with_data(seen.data + 1)
    assert other.origin is None
    signs = torch.randn(other.data.shape)
    expected = signs.double().permute(0, 2, 3, 1)
    assert torch.equal(carry_slopes(signs, other), expected)
    assert torch.equal(carry_slope_bounds(signs, other), expected.abs())
    assert carry_path(signs, signs, other) is None


def test_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="a gradient"):
        Preprocess(transpose=(2, 0, 1)).adjoint(torch.zeros(2, *SHAPE), volume(image()))


def test_a_constant_image_has_no_slope() -> None:
    flat = volume(np.full((1, *SHAPE), 3.0))
    carried = Preprocess(intensity=Intensity("zscore")).adjoint(torch.ones(1, *SHAPE), flat)
    assert not carried.any()
