"""Baselines are what they are called, on anisotropic grids too."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from esegeta.errors import ConfigError, DataError
from esegeta.explain import Baseline, IntegratedGradients, Occlusion, parse_baseline
from esegeta.explain.baseline import blur
from esegeta.volume import volume_from_tensor
from tests.builders import SHAPES, volume

SPACINGS_MM = (1.0, 2.0, 4.0)


def test_baselines_of_zero_mean_and_minimum(ndim: int) -> None:
    image = volume(SHAPES[ndim], 3)
    assert not Baseline("zero").of(image).any()
    for kind in ("mean", "minimum"):
        found = Baseline(kind).of(image)
        for channel in range(3):
            values = image.data[channel]
            expected = values.mean() if kind == "mean" else values.min()
            torch.testing.assert_close(found[channel], expected.expand_as(values))


@pytest.mark.parametrize("sigma_mm", [3.0, 40.0])
def test_blur_is_scipys_in_millimetres(ndim: int, sigma_mm: float) -> None:
    """3 mm are 3, 1.5 and 0.75 voxels; 40 mm reach far beyond the image."""
    shape = (12, 9, 7)[:ndim]
    image = volume_from_tensor(torch.randn(2, *shape), spacing_mm=SPACINGS_MM[:ndim])
    found = Baseline("blur", sigma_mm=sigma_mm).of(image)
    sigmas = [0.0, *(sigma_mm / spacing for spacing in SPACINGS_MM[:ndim])]
    expected = ndimage.gaussian_filter(image.data.double().numpy(), sigmas, mode="nearest")
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_blur_keeps_a_constant_and_an_axis_of_one() -> None:
    flat = torch.full((1, 6, 1, 5), 3.5)
    torch.testing.assert_close(blur(flat, [2.0, 3.0, 50.0]), flat)


def test_a_file_is_taken_voxel_by_voxel(ndim: int) -> None:
    image = volume(SHAPES[ndim])
    values = torch.randn_like(image.data)
    baseline = parse_baseline("rest/healthy.nii.gz").with_values(values)
    assert baseline.kind == "file"
    assert torch.equal(baseline.of(image), values)


@pytest.mark.parametrize("shape", [None, (1, 3, 3)])
def test_a_file_that_does_not_fit_is_refused(shape: tuple[int, ...] | None) -> None:
    baseline = Baseline(file="a.nii")
    if shape is not None:
        baseline = baseline.with_values(torch.zeros(shape))
    with pytest.raises(DataError, match=r"a\.nii.*\(1, 5, 4\).*grid"):
        baseline.of(volume((5, 4)))


def test_baselines_may_be_given_as_words() -> None:
    assert parse_baseline("mean") == Baseline("mean")
    assert parse_baseline(Baseline("zero")) == Baseline("zero")
    assert IntegratedGradients(baseline="minimum").baseline == Baseline("minimum")
    assert Occlusion(baseline="x.nii.gz").baseline == Baseline("file", file="x.nii.gz")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: parse_baseline("blurr"), 'did you mean "blur"'),
        (lambda: IntegratedGradients(baseline="men"), 'did you mean "mean"'),
        (lambda: Baseline("blur", sigma_mm=0.0), "above zero"),
        (lambda: Baseline("file"), "no file is named"),
    ],
)
def test_bad_baselines_are_refused(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
