"""What is learned of real patches: components, mixtures, denoisers and codes, against rewrites."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from esegeta.features import (
    Code,
    Denoiser,
    ExpertCost,
    PatchMixture,
    PcaGenerator,
    VaeGenerator,
    cut_patches,
)
from esegeta.features.experts import DenoisingNetwork

SHAPES = {2: (2, 7, 6), 3: (1, 6, 5, 4)}


def patches_of(ndim: int, count: int = 12) -> Tensor:
    """Return patches that differ in four directions, each less than the one before, and noise."""
    directions = torch.randn(4, *SHAPES[ndim])
    sizes = torch.randn(count, 4) * torch.tensor([27.0, 9.0, 3.0, 1.0])
    noise = 0.01 * torch.randn(count, *SHAPES[ndim])
    return torch.tensordot(sizes, directions, dims=1) + noise


def test_components_are_those_of_a_svd(ndim: int) -> None:
    patches = patches_of(ndim)
    found = PcaGenerator.fit(patches, 4)
    flat = patches.flatten(1).double().numpy()
    centred = flat - flat.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(found.scales, values[:4] / np.sqrt(11), rtol=1e-3)
    cosines = np.abs(found.axes.flatten(1).numpy() @ axes[:4].T)
    assert np.allclose(cosines, np.eye(4), atol=1e-3)
    codes = found.encode(patches)
    assert np.allclose(codes.std(0), 1, rtol=1e-3)
    assert torch.allclose(found.encode(found.decode(codes)), codes, atol=1e-3)
    rest = (patches - found.decode(codes)).norm() / patches.norm()
    assert float(rest) < 0.02
    effort = Code(found).effort([codes])
    assert effort is not None
    assert torch.allclose(effort, (codes**2).mean(1))


def test_no_component_comes_from_rounding_errors() -> None:
    one = torch.randn(1, 1, 4, 4)
    patches = torch.randn(9, 1, 1, 1) * one
    assert len(PcaGenerator.fit(patches, 8).scales) == 1


def test_patches_are_cut_side_by_side(ndim: int) -> None:
    x = torch.randn(2, *SHAPES[ndim])
    found = cut_patches(x, 2, (1,) * ndim)
    starts = [range(1, length - 1, 2) for length in x.shape[2:]]
    expected = [
        x[(slice(None), slice(None), *(slice(s, s + 2) for s in place))].flatten(1)
        for place in itertools.product(*starts)
    ]
    assert torch.equal(found, torch.stack(expected, 1))


def test_a_mixture_equals_the_full_gaussian_density() -> None:
    """Against scipy's normal densities with the whole covariance, mixed by hand."""
    data = torch.randn(400, 8) * torch.linspace(2, 0.3, 8)
    data[:200] += 3
    found = PatchMixture.fit(data, 2, axes=3, components=2, seed=0)
    some = data[::50].double().numpy()
    total = np.zeros(len(some))
    axes, mean = found.axes.double().numpy(), found.mean.double().numpy()
    left = np.eye(8) - axes @ axes.T
    for weight, centre, chol in zip(found.weights, found.centres, found.precisions, strict=True):
        inner = np.linalg.inv(chol.double().numpy() @ chol.double().numpy().T)
        covariance = axes @ inner @ axes.T + found.rest * left
        where = mean + axes @ centre.double().numpy()
        total += float(weight) * multivariate_normal(where, covariance).pdf(some)
    assert np.allclose(found.log_density(data[::50]).numpy(), np.log(total), rtol=1e-3)


def test_a_mixture_costs_more_for_noise_than_for_data(ndim: int) -> None:
    smooth = torch.linspace(0, 1, 8).expand(30, 1, *(8,) * ndim) + torch.rand(30, *[1] * (ndim + 1))
    small = cut_patches(smooth, 2).flatten(0, 1)
    expert = PatchMixture.fit(small, 2, axes=2, components=2, seed=0)
    noise = torch.rand(4, 1, *(8,) * ndim)
    assert float(expert.cost(noise).min()) > float(expert.cost(smooth).max()) + 1
    again = PatchMixture.of(expert.state())
    assert torch.equal(again.cost(noise), expert.cost(noise))
    assert torch.allclose(ExpertCost(expert, 2.0)(noise), expert.cost(noise) / 2)


def test_the_gradient_of_a_denoiser_cost_is_its_score(ndim: int) -> None:
    """The slope of its cost is (x - r(x)) / sigma^2, in the data's units, a number."""
    network = DenoisingNetwork(ndim, 1, width=2)
    expert = Denoiser(network.requires_grad_(False), sigma=0.5, mean=1.0, std=2.0)
    x = torch.randn(1, 1, *(6, 5, 4)[:ndim], requires_grad=True)
    expert.cost(x).sum().backward()
    assert x.grad is not None
    scaled = (x.detach() - 1) / 2
    expected = (scaled - network(scaled)) / 0.5**2 / 2 / x.numel()
    assert torch.allclose(x.grad, expected, atol=1e-6)
    again = Denoiser.of(expert.state())
    assert torch.equal(again.cost(x), expert.cost(x))


def drawing(data: Tensor) -> Callable[[int], Tensor]:
    draws = torch.Generator().manual_seed(0)
    return lambda count: data[torch.randint(len(data), (count,), generator=draws)]


def test_a_denoiser_learns_without_changing_the_random_state() -> None:
    data = torch.linspace(-1, 1, 8)[None, None, :, None] * torch.randn(20, 1, 1, 1)
    data = data.expand(20, 1, 8, 8).clone()
    before = torch.get_rng_state()
    short, long = (
        Denoiser.fit(drawing(data), data, sigma=0.5, iterations=count, seed=0) for count in (1, 60)
    )
    assert torch.equal(torch.get_rng_state(), before)
    noisy = (data - short.mean) / short.std + 0.5 * torch.randn_like(data)
    errors = [
        float((one.network(noisy) - (data - one.mean) / one.std).square().mean())
        for one in (short, long)
    ]
    assert errors[1] < errors[0] / 2


@pytest.mark.slow
def test_a_vae_reconstructs_better_after_training(ndim: int) -> None:
    data = torch.linspace(-1, 1, 9).reshape(9, *[1] * (ndim - 1)) * torch.randn(40, 1, *[1] * ndim)
    data = data.expand(40, 1, *(9, 8, 7)[:ndim]).clone()
    short, long = (
        VaeGenerator.fit(drawing(data), data, codes=2, iterations=count, seed=0)
        for count in (2, 200)
    )
    errors = [float((one.decode(one.encode(data)) - data).square().mean()) for one in (short, long)]
    assert errors[1] < errors[0] / 5
    again = VaeGenerator.of(long.state(), tuple(data.shape[2:]))
    assert torch.equal(again.encode(data), long.encode(data))
    codes = long.encode(data)
    assert torch.allclose(again.decode(codes), long.decode(codes))


def test_a_vae_keeps_any_shape(ndim: int) -> None:
    shape = (9, 6, 5)[:ndim]
    data = torch.randn(4, 2, *shape)
    found = VaeGenerator.fit(drawing(data), data, codes=3, iterations=1, seed=0, batch_size=2)
    assert found.decode(found.encode(data)).shape == data.shape
