"""Chance: uniform p for concepts without shape, adjusted p as SciPy has them."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
import torch
from scipy import stats

from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import Chance, CircularShift, Permutation, p_values, q_values
from esegeta.dissection.chances import CHANCES
from esegeta.dissection.surrogates import Surrogates
from esegeta.dissection.tally import ConceptParts, tally
from esegeta.errors import ConfigError
from tests.dissection.bodies import above_of
from tests.dissection.drawn import overlaps

SHAPE = (12, 10, 8)
IN_ONE_CASE = [name for name in CHANCES if name != "exchange"]


def blob(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 1, *SHAPE, generator=generator)
    smooth = torch.nn.functional.avg_pool3d(noise, 5, stride=1, padding=2)[0, 0]
    return smooth > smooth.quantile(0.9)


def space(number: int) -> CaseSpace:
    """A case that is body throughout."""
    everywhere = torch.ones(SHAPE, dtype=torch.bool).flatten()
    return CaseSpace(number, SHAPE, everywhere)


def p_of(null: Chance, cases: list[tuple[torch.Tensor, list[torch.Tensor]]]) -> torch.Tensor:
    all_counts, draws = [], []
    for number, (units, concepts) in enumerate(cases):
        above, partition = above_of(units), ConceptParts.of(concepts)
        all_counts.append(tally(above, partition, len(units)))
        draws.append(overlaps(null, above, partition, len(units), space(number)))
    return p_values(functools.reduce(operator.add, all_counts), sum(draws))


def shuffled(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return mask.flatten()[torch.randperm(mask.numel(), generator=generator)].reshape(mask.shape)


@pytest.mark.parametrize("name", IN_ONE_CASE)
def test_shuffled_concepts_have_p_near_uniform(name: str) -> None:
    """60 concepts whose voxels are permuted, 5 smooth units, two cases."""
    generator = torch.Generator().manual_seed(5)
    cases = [
        (
            torch.stack([blob(7 * case + unit) for unit in range(5)]),
            [shuffled(blob(100 + concept), generator) for concept in range(60)],
        )
        for case in range(2)
    ]
    p = p_of(CHANCES[name](samples=199), cases).flatten()
    assert stats.kstest(p.numpy(), "uniform").pvalue > 0.01
    # Of true nulls none should be called; their q are near one.
    assert q_values(p).min() > 0.2
    assert q_values(p).median() > 0.8


@pytest.mark.parametrize("name", IN_ONE_CASE)
def test_a_unit_that_is_the_concept_has_the_smallest_p(name: str) -> None:
    mask = blob(1)
    p = p_of(CHANCES[name](samples=199), [(mask[None], [mask, ~mask])])
    assert float(p[0, 0]) <= 0.02
    assert float(p[0, 1]) == 1


def test_shifts_account_for_smooth_shapes_and_permutations_do_not() -> None:
    """Smooth units over smooth concepts that have nothing to do with each other."""
    units = torch.stack([blob(unit) for unit in range(8)])
    cases = [(units, [blob(50 + concept) for concept in range(12)])]
    shift = p_of(CircularShift(samples=199), cases)
    surrogate = p_of(Surrogates(samples=199), cases)
    permutation = p_of(Permutation(samples=199), cases)
    assert (shift < 0.05).double().mean() < 0.12
    assert (surrogate < 0.05).double().mean() < 0.12
    assert (permutation < 0.05).double().mean() > 0.2


def test_overlaps_of_shifts_equal_rolled_concepts() -> None:
    units, concepts = torch.stack([blob(1), blob(2)]), [blob(3), blob(4)]
    null = CircularShift(samples=5, seed=2)
    found = overlaps(null, above_of(units), ConceptParts.of(concepts), 2, space(3))
    generator = torch.Generator().manual_seed(2 * 1_000_003 + 3)
    shifts = torch.randint(units[0].numel(), (5, 1), generator=generator)[:, 0].tolist()
    for draw, shift in enumerate(shifts):
        for place, concept in enumerate(concepts):
            moved = concept.flatten().roll(-shift).reshape(SHAPE)
            expected = (units & moved).flatten(1).sum(dim=1)
            assert torch.equal(found[draw, :, place], expected)


def test_processing_in_portions_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    above, partition = above_of(torch.stack([blob(1), blob(2)])), ConceptParts.of([blob(3)])
    whole = overlaps(CircularShift(samples=20), above, partition, 2, space(0))
    monkeypatch.setattr("esegeta.dissection.chance.PLACES_AT_A_TIME", 300)
    assert torch.equal(overlaps(CircularShift(samples=20), above, partition, 2, space(0)), whole)


def test_an_empty_unit_has_no_p() -> None:
    empty = torch.zeros(SHAPE, dtype=torch.bool)
    for null in (CircularShift(samples=9), Permutation(samples=9), Surrogates(samples=9)):
        p = p_of(null, [(torch.stack([empty, blob(1)]), [blob(2), empty])])
        assert p.isnan().tolist() == [[True, True], [False, True]]


def test_masks_that_never_meet_have_a_p_of_one() -> None:
    """One voxel against one voxel: no draw may hit, and the pair is a test like any other."""
    one, other = torch.zeros(2, *SHAPE, dtype=torch.bool)
    one[0, 0, 0] = other[5, 5, 5] = True
    for null in (CircularShift(samples=9), Permutation(samples=9), Surrogates(samples=9)):
        assert p_of(null, [(one[None], [other])]).tolist() == [[1.0]]


def adjusted(p: list[float]) -> list[float]:
    """Return Benjamini and Hochberg's adjusted p-values by their definition."""
    ordered = sorted(p)
    steps = [one * len(p) / place for place, one in enumerate(ordered, start=1)]
    return [min(1.0, *steps[ordered.index(one) :]) for one in p]


@pytest.mark.parametrize("ties", [False, True])
def test_q_values_ignore_undefined_p(ties: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(7, 9, dtype=torch.float64, generator=generator) ** 3
    p = (p * 50).ceil() / 50 if ties else p
    expected = np.array(adjusted(p.flatten().tolist())).reshape(7, 9)
    np.testing.assert_allclose(q_values(p).numpy(), expected, rtol=1e-14)
    holes = p.clone()
    holes[2] = torch.nan
    found = q_values(holes)
    assert found[2].isnan().all()
    kept = ~holes.isnan()
    np.testing.assert_allclose(found[kept].numpy(), adjusted(holes[kept].tolist()), rtol=1e-14)
    assert holes[2].isnan().all() and torch.equal(holes[kept], p[kept])
    assert q_values(torch.full((2,), torch.nan)).isnan().all()
    assert q_values(p.float()).dtype == torch.float32


def test_zero_draws_are_refused() -> None:
    with pytest.raises(ConfigError, match="samples: 0"):
        CircularShift(samples=0)
