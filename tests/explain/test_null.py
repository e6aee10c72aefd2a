"""Null competitors: the noise is what it says, edges are those of a slow rewrite in mm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError, MapError
from esegeta.explain import EdgeMap, RandomMap
from esegeta.explain.null import gradient_magnitude
from tests.builders import SHAPES, affine_of, predictor, unet, volume
from tests.oracles import frozen


@pytest.mark.parametrize("sigma_mm", [0.0, 3.0])
def test_noise_is_standard_normal_and_independent_in_each_channel(
    ndim: int, sigma_mm: float
) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume((40, 41) if ndim == 2 else (20, 21, 22), 2)
    found = RandomMap(sigma_mm=sigma_mm).explain(model, image, frozen(model, image)).data
    if sigma_mm == 0:
        expected = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
        assert torch.equal(found, expected)
    else:
        assert float(found.mean()) == pytest.approx(0, abs=1e-4)
        assert float(found.std()) == pytest.approx(1, abs=1e-4)
        flat = found.flatten(1)
        assert float(torch.corrcoef(flat)[0, 1].abs()) < 0.3
        near = torch.corrcoef(torch.stack([found[0, 1:].flatten(), found[0, :-1].flatten()]))
        assert float(near[0, 1]) > 0.8  # neighbours are alike: it is as smooth as it was told


def test_edges_are_those_of_numpy_in_mm(ndim: int) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2, affine=affine_of("anisotropic", ndim))
    found = EdgeMap().explain(model, image, frozen(model, image))
    for channel, given in zip(found.data, image.data, strict=True):
        slopes = np.gradient(given.double().numpy(), *image.grid.spacing_mm)
        expected = np.sqrt(np.sum(np.square(slopes), axis=0))
        assert np.allclose(channel, expected, atol=1e-5)


def test_an_axis_of_one_voxel_has_no_edges() -> None:
    data = volume((6, 1, 5)).data
    flat = gradient_magnitude(data[:, :, 0], (2.0, 3.0))
    assert torch.equal(gradient_magnitude(data, (2.0, 9.0, 3.0)), flat[:, :, None])


def test_an_image_without_edges_is_refused() -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    flat = image.with_data(torch.ones_like(image.data))
    with pytest.raises(MapError, match="it has no edges"):
        EdgeMap().explain(model, flat, frozen(model, flat))


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="sigma_mm"):
        RandomMap(sigma_mm=-1)
