"""Pictures on a device that is strict as CUDA: bit for bit those of the CPU."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from esegeta.features import (
    Blur,
    Code,
    Denoiser,
    Dream,
    Expert,
    ExpertCost,
    Fourier,
    LayerObjective,
    MultiScale,
    Normed,
    Parametrisation,
    PatchMixture,
    PcaGenerator,
    PowerNorm,
    Recipe,
    Subject,
    TotalVariation,
    Transforms,
    UnitObjective,
    UnitTotals,
    Unmixed,
    VaeGenerator,
    ascend,
    cut_patches,
    mixing_of,
)

SHAPE, SPACING = (6, 5, 4), (1.0, 2.0, 1.5)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.Tanh())


def picture_on(
    device: torch.device, inner: Parametrisation, expert: Expert | None, data: Tensor
) -> Tensor:
    centre = data.mean(0).to(device)
    penalties = [(0.5, PowerNorm(centre, 6.0)), (0.5, TotalVariation(SPACING))]
    if expert is not None:
        penalties.append((0.5, ExpertCost(expert.to(device))))
    bounds = (torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 2.0]))
    recipe = Recipe(
        3,
        0.1,
        SPACING,
        penalties=tuple(penalties),
        code_weight=0.1,
        transforms=Transforms(1, 10.0, 0.1),
        blur=Blur(1.0, every=2),
        bounds=bounds,
        side=2,
    )
    subject, unit = Subject(network().to(device)), UnitObjective("1", 1)
    start = data[:1].to(device)
    found = ascend(subject, unit, inner, start, recipe, wobble=0.1).picture
    assert found.device == device
    return found.cpu()


def test_pictures_equal_those_of_the_cpu(second: torch.device) -> None:
    data, host = torch.randn(8, 2, *SHAPE), torch.device("cpu")
    mixed = mixing_of(data.transpose(0, 1).flatten(1))
    generator = PcaGenerator.fit(data, 4)
    mixture = PatchMixture.fit(cut_patches(data, 2).flatten(0, 1), 2, axes=4, components=2, seed=0)
    rows: list[tuple[Parametrisation, Parametrisation, Expert | None]] = [
        (Unmixed(Fourier(SHAPE, SPACING), *mixed),) * 2 + (mixture,),
        (Normed(MultiScale(), 2.0),) * 2 + (None,),
        (Code(generator), Code(generator.to(second)), None),
    ]
    for here, there, expert in rows:
        expected = picture_on(host, here, expert, data)
        assert torch.equal(picture_on(second, there, expert, data), expected)


def test_learned_priors_equal_those_of_the_cpu(second: torch.device) -> None:
    data = torch.randn(4, 1, 6, 5)
    found = []
    for device in (torch.device("cpu"), second):
        here = data.to(device)
        kept = copy.copy(here)

        def draw(count: int, kept: Tensor = kept) -> Tensor:
            return kept[:count]

        options = {"iterations": 2, "seed": 0, "batch_size": 2}
        denoiser = Denoiser.fit(draw, here, sigma=0.3, **options)  # type: ignore[arg-type]
        vae = VaeGenerator.fit(draw, here, codes=2, **options)  # type: ignore[arg-type]
        pca = PcaGenerator.fit(here, 2)
        codes = (vae.encode(here), pca.encode(here))
        found.append([part.cpu() for part in (denoiser.cost(here), *codes)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_dreams_and_counts_equal_those_of_the_cpu(second: torch.device) -> None:
    image = torch.randn(2, *SHAPE)
    dream = Dream((4, 4, 4), octaves=2, steps=1)
    bounds = (torch.full((2,), -2.0), torch.full((2,), 2.0))
    expected = dream(Subject(network()), LayerObjective("1"), image, bounds=bounds)
    there = Subject(network().to(second))
    found = dream(there, LayerObjective("1"), image.to(second), bounds=bounds)
    assert found.device == second
    assert torch.equal(found.cpu(), expected)
    one, other = UnitTotals.of(image), UnitTotals.of(image.to(second))
    assert all(
        torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True)
    )
