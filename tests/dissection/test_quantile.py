"""Thresholds: torch.kthvalue to the last bit, whichever way and in whatever portions."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from esegeta.dissection.quantile import (
    FEW,
    LONG,
    BitHistograms,
    LargestValues,
    ThresholdFinder,
    ordered_bits,
    rank_of,
    threshold_finder,
    values_of_bits,
)
from esegeta.errors import ConfigError

FINDERS = {
    "buffer": lambda units, rank: LargestValues(rank),
    "histograms": BitHistograms,
}
DRAWS = {
    "normal": lambda: torch.randn(5, 3001),
    "relu": lambda: torch.randn(5, 3001).relu(),
    "all scales": lambda: torch.randn(5, 3001) * 10.0 ** torch.randint(-38, 30, (5, 3001)),
    "few values": lambda: torch.randint(-2, 3, (5, 3001)).float(),
    "constant": lambda: torch.full((5, 3001), -3.7),
}
QUANTILES = (0.0001, 0.005, 0.25, 0.9, 0.9999)


def run(finder: ThresholdFinder, portions: list[Tensor]) -> Tensor:
    for _ in range(finder.num_passes):
        for portion in portions:
            finder.merge(finder.take(portion))
        finder.end_pass()
    return finder.thresholds()


@pytest.mark.parametrize("quantile", QUANTILES)
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("finder", FINDERS)
def test_equals_kthvalue_bit_for_bit(finder: str, draw: str, quantile: float) -> None:
    values = DRAWS[draw]()
    rank = rank_of(values.shape[1], quantile)
    portions = list(values.split([1, 1500, 7, 1493], dim=1))
    found = run(FINDERS[finder](5, rank), portions)
    expected = values.kthvalue(values.shape[1] - rank + 1, dim=1).values + 0.0
    assert found.dtype == torch.float32
    assert torch.equal(found.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("rank", [1, 2, 37, 400])
def test_few_of_many_portions_are_read_twice(rank: int) -> None:
    """Units whose values come in other orders; ties, infinities and what is not a number join."""
    values = torch.stack(
        [torch.randn(3000).sort().values, torch.randn(3000), torch.randn(3000).round()]
    )
    values[1, 5], values[1, 2900], values[2] = math.inf, -math.inf, values[2].flip(0)
    portions = list(values.split(40, dim=1))
    found = run(LargestValues(rank), portions)
    assert torch.equal(found, values.sort(dim=1).values[:, -rank] + 0.0)
    values[0, 2990] = math.nan
    (first, *_) = run(LargestValues(1), portions)
    assert first.isnan()


LONG_DRAWS = {
    "normal": lambda: torch.randn(2, LONG),
    "relu": lambda: (torch.randn(2, LONG) - 2.7).relu(),
    "constant": lambda: torch.full((2, LONG), -3.7),
    "largest where no sample is": lambda: (torch.arange(2 * LONG).reshape(2, -1) % 8 > 0).float(),
    "the sample is all there is": lambda: (torch.arange(2 * LONG).reshape(2, -1) % 8 == 0).float(),
    "the sample has more than its share": lambda: (
        torch.rand(2, LONG)
        + (torch.arange(2 * LONG).reshape(2, -1) % LONG < 160)
        * (torch.arange(2 * LONG).reshape(2, -1) % 8 == 0)
    ),
    "a lump": lambda: torch.arange(2.0 * LONG).reshape(2, -1) / LONG,
}


@pytest.mark.parametrize("rank", [1, 37, LONG // FEW])
@pytest.mark.parametrize("draw", LONG_DRAWS)
def test_the_largest_of_many_equal_a_sort(draw: str, rank: int) -> None:
    values = LONG_DRAWS[draw]()
    found = LargestValues(rank).take(values).sort(dim=1).values
    assert torch.equal(found, values.sort(dim=1).values[:, -rank:])


@pytest.mark.parametrize("finder", FINDERS)
def test_states_of_several_processes_are_merged_in_any_order(finder: str) -> None:
    values = DRAWS["all scales"]()
    rank = rank_of(values.shape[1], 0.25)
    portions = list(values.split([1, 1500, 7, 1493], dim=1))
    new = partial(FINDERS[finder], 5, rank)
    state: dict[str, Tensor] = {}
    for turn in range(new().num_passes):
        takers, whole = [new() for _ in portions], new()
        for one in (*takers, whole) if turn else ():
            one.resume(turn, state)
        taken = [one.take(portion) for one, portion in zip(takers, portions, strict=True)]
        for share in (taken[2], taken[0], taken[3], taken[1]):
            whole.merge(share)
        whole.end_pass()
        state = whole.state()
    expected = run(new(), portions)
    assert torch.equal(whole.thresholds().view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("quantile", QUANTILES)
@pytest.mark.parametrize("count", [1, 2, 199, 200, 3000, 1_000_000])
def test_the_rank_is_that_of_the_formula(count: int, quantile: float) -> None:
    rank = rank_of(count, quantile)
    parts = round(quantile * 10_000)
    assert rank == count - math.ceil(count * (10_000 - parts) / 10_000) + 1
    assert 1 <= rank <= count
    assert (rank - 1) * 10_000 <= parts * count


def test_at_most_the_quantile_lies_above() -> None:
    values = torch.randn(3, 20_000)
    found = run(LargestValues(rank_of(20_000, 0.005)), [values])
    assert (values > found[:, None]).sum(dim=1).tolist() == [100, 100, 100]


def test_keys_are_in_the_order_of_values() -> None:
    values = torch.cat(
        [torch.randn(1000) * 10.0 ** torch.randint(-40, 38, (1000,)), -torch.ones(1)]
    )
    values = torch.cat([values, torch.tensor([0.0, -0.0, 3e38, -3e38, 1e-45])])
    keys = ordered_bits(values)
    assert torch.equal(keys.argsort(stable=True), values.argsort(stable=True))
    assert torch.equal(values_of_bits(keys), values + 0.0)


def test_histograms_are_used_if_values_do_not_fit_into_memory() -> None:
    assert isinstance(threshold_finder(10, 1000, memory_mb=1), LargestValues)
    assert isinstance(threshold_finder(10, 100_000, memory_mb=1), BitHistograms)


@pytest.mark.parametrize(("count", "quantile"), [(0, 0.5), (10, 0.0), (10, 1.0)])
def test_a_quantile_of_no_values_is_refused(count: int, quantile: float) -> None:
    with pytest.raises(ConfigError, match="gives no threshold"):
        rank_of(count, quantile)
