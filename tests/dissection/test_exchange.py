"""Label maps change their cases: what a unit knows of this patient stays, what of all goes."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage

from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import Chance, q_values
from esegeta.dissection.exchange import Exchange, Frame, brought
from esegeta.dissection.surrogates import Surrogates
from esegeta.dissection.tally import ConceptParts, OverlapTally, tally
from tests.dissection.bodies import above_of
from tests.dissection.drawn import overlaps

SHAPE = (40, 36)


def test_few_cases_are_exchanged_in_all_other_orders() -> None:
    orders = Exchange(samples=1000).orders(5)
    assert Exchange(samples=1000).num_draws(5) == len(orders) == 119
    others = set(itertools.permutations(range(5))) - {tuple(range(5))}
    assert {tuple(row) for row in orders.tolist()} == others


def test_many_cases_are_exchanged_in_random_orders() -> None:
    """Every case is handed every label map as often."""
    null = Exchange(samples=4000, seed=3)
    orders = null.orders(7)
    assert null.num_draws(7) == len(orders) == 4000
    assert torch.equal(orders.sort(dim=1).values, torch.arange(7).expand(4000, 7))
    shares = torch.nn.functional.one_hot(orders).double().mean(dim=0)
    assert float((shares - 1 / 7).abs().max()) < 4 * np.sqrt(1 / 7 * 6 / 7 / 4000)


def test_overlaps_are_counted_with_the_exchanged_label_map(ndim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (7, 6, 5)[:ndim]
    concepts = [torch.rand((2, *shape), generator=generator) < 0.4 for _ in range(5)]
    units = torch.rand((3, *shape), generator=generator) < 0.3
    partitions = [ConceptParts.of(list(one)) for one in concepts]
    readers = [partial(lambda one: one, one) for one in partitions]
    body = torch.ones(shape, dtype=torch.bool).flatten()
    null = Exchange(samples=50, seed=1)
    space = CaseSpace(2, shape, body, readers)
    found = overlaps(null, above_of(units), partitions[2], 3, space)
    for draw, order in enumerate(null.orders(5).tolist()):
        both = (units[:, None] & concepts[order[2]][None]).flatten(2).sum(dim=2)
        assert torch.equal(found[draw], both)


def test_one_body_is_resampled_onto_another() -> None:
    """The other body is half as wide and begins elsewhere: each of its voxels stands for two."""
    source, target = Frame((6, 4), ((1, 3), (0, 4))), Frame((9, 4), ((2, 6), (0, 4)))
    mask = torch.zeros(6, 4, dtype=torch.bool)
    mask[2, 1] = mask[5, 3] = True
    found = brought(ConceptParts.of([mask]), source, target)
    expected = torch.zeros(9, 4, dtype=torch.bool)
    expected[4:6, 1] = True  # the second of the body's voxels is its third and fourth
    assert torch.equal(found.members[found.parts.long()][:, 0].reshape(9, 4), expected)
    # Row 5 of the source would be rows 10 and 11.
    assert found.sizes.tolist() == [2]


def test_a_common_grid_is_left_as_it_is(ndim: int) -> None:
    shape = (7, 6, 5)[:ndim]
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    frame = Frame.of_grid(shape)
    found = brought(ConceptParts.of([mask, ~mask]), frame, frame)
    assert torch.equal(found.members[found.parts.long()].T, torch.stack([mask, ~mask]).flatten(1))


def test_the_frame_of_a_body_is_its_bounding_box() -> None:
    body = torch.zeros(6, 5, 4, dtype=torch.bool)
    body[2:5, 1, 0:3] = True
    assert Frame.of_body(body.flatten(), (6, 5, 4)).box == ((2, 3), (1, 1), (0, 3))


def world(generator: np.random.Generator, templates: np.ndarray, planted: int) -> tuple:
    """Return units, organs and the body of a patient, each of another size.

    Organs lie about where they lie in everybody, and so do the templates that units are made of:
    functions of the place within the body. The first units mark the patient's own organs.
    """
    radii = generator.uniform(0.6, 0.9, size=2)
    middle = generator.uniform(-0.08, 0.08, size=2)
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in SHAPE), indexing="ij")
    place = np.stack([(a - m) / r for a, m, r in zip(axes, middle, radii, strict=True)])
    body = (place**2).sum(axis=0) < 1
    at = (np.clip((place + 1) / 2, 0, 1) * (templates.shape[1] - 1)).reshape(2, -1)
    organs, units = [], []
    for angle in np.arange(5) * 2 * np.pi / 5:
        own = 0.55 * np.array([np.cos(angle), np.sin(angle)]) + generator.normal(size=2) * 0.12
        organs.append((((place - own[:, None, None]) ** 2).sum(axis=0) < 0.04) & body)
    for number, template in enumerate(templates):
        unit = ndimage.map_coordinates(template, at, order=1).reshape(SHAPE)
        noise = ndimage.gaussian_filter(generator.normal(size=SHAPE), 2.0)
        unit = unit + noise / noise.std()
        if number < planted:
            unit = unit + 8 * ndimage.gaussian_filter(organs[number].astype(float), 1.0)
        units.append(np.where(body, unit, unit.min()))
    return torch.from_numpy(np.stack(units)), [torch.from_numpy(o) for o in organs], body


def q_of(null: Chance, seed: int, *, planted: int, num_cases: int = 8) -> torch.Tensor:
    """Return q of 20 units that know where in the body they are, and of five organs."""
    generator = np.random.default_rng(seed)
    templates = ndimage.gaussian_filter(generator.normal(size=(20, 40, 40)), (0, 5, 5))
    templates = 3 * templates / templates.std(axis=(1, 2), keepdims=True)
    cases = [world(generator, templates, planted) for _ in range(num_cases)]
    everything = torch.stack([units.flatten(1) for units, _, _ in cases], dim=1).flatten(1)
    thresholds = everything.quantile(0.97, dim=1)
    bodies = [torch.from_numpy(body).flatten() for _, _, body in cases]
    frames = [Frame.of_body(body, SHAPE) for body in bodies]
    partitions = [ConceptParts.of(organs) for _, organs, _ in cases]
    total: OverlapTally | None = None
    drawn: torch.Tensor | int = 0
    for number, (units, _, _) in enumerate(cases):
        readers = [
            partial(brought, one, frame, frames[number])
            for one, frame in zip(partitions, frames, strict=True)
        ]
        above = above_of(units > thresholds[:, None, None])
        space = CaseSpace(number, SHAPE, bodies[number], readers)
        own = tally(above, partitions[number], 20)
        total = own if total is None else total + own
        drawn = drawn + overlaps(null, above, partitions[number], 20, space)
    assert isinstance(drawn, torch.Tensor)
    assert total is not None
    return q_values(null.p_values(total, drawn))


@pytest.mark.slow
def test_units_that_encode_position_are_not_named() -> None:
    """At most one run in ten; surrogates, which keep smoothness alone, name them in every run."""
    kept = [bool((q_of(Exchange(), seed, planted=0) <= 0.05).any()) for seed in range(20)]
    assert sum(kept) <= 2
    told = [bool((q_of(Surrogates(), seed, planted=0) <= 0.05).any()) for seed in range(2)]
    assert all(told)


@pytest.mark.slow
def test_units_that_follow_their_own_patient_are_named() -> None:
    found = []
    for seed in range(8):
        q = q_of(Exchange(), seed, planted=5, num_cases=10)
        found += [float(q[unit, unit]) <= 0.05 for unit in range(5)]
        assert (q[5:] > 0.05).double().mean() > 0.98
    assert np.mean(found) > 0.9
