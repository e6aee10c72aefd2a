"""Cuts: bins as a search finds them, and AUROC and best IoU as of the activations themselves."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from esegeta.dissection import BinEdges, Sketch, auroc, best_thresholds
from esegeta.dissection.bin_edges import NUM_EDGES
from esegeta.dissection.curves import histograms


def cuts_of(values: Tensor, num_cases: int = 1) -> BinEdges:
    sketch = Sketch(num_cases)
    for part in values.tensor_split(num_cases, dim=1):
        sketch.add(part)
    return sketch.bin_edges(*values.aminmax(dim=1))


def judged(values: Tensor, inside: Tensor, num_cases: int = 1) -> tuple[Tensor, Tensor]:
    """Return AUROC and best threshold of one concept, by the counts in bins."""
    bin_edges = cuts_of(values, num_cases)
    counts = histograms(bin_edges.bins(values), bin_edges.num_bins, inside.long(), 2)
    own, everything = counts[:, :, 1:], counts.sum(dim=2)
    return auroc(own, everything)[:, 0], best_thresholds(
        own, everything[:, :, None], bin_edges.values
    )[:, 0]


def iou_above(values: Tensor, inside: Tensor, threshold: Tensor) -> float:
    above = values > threshold
    return float((above & inside).sum() / (above | inside).sum())


DRAWS = {
    "normal": lambda: torch.randn(3, 20_000),
    "relu": lambda: torch.randn(3, 20_000).relu(),
    "far from zero": lambda: 1000 + torch.randn(3, 20_000),
    "heavy tail": lambda: torch.randn(3, 20_000).exp() ** 3,
    "one outlier": lambda: torch.cat([torch.randn(3, 19_999), torch.full((3, 1), 3e38)], dim=1),
    "both ends": lambda: torch.cat([torch.randn(3, 19_998), torch.tensor([[3e38, -3e38]] * 3)], 1),
    "two values": lambda: (torch.rand(3, 20_000) < 0.01).float(),
    "constant": lambda: torch.full((3, 20_000), -2.5),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_bins_equal_a_binary_search(draw: str) -> None:
    values = DRAWS[draw]()
    bin_edges = cuts_of(values)
    assert bin_edges.offsets.shape == (3, NUM_EDGES) and bin_edges.num_bins == 256
    assert not bin_edges.values.isnan().any()
    assert (bin_edges.offsets.diff(dim=1) >= 0).all()
    offsets = torch.cat([values - bin_edges.centre[:, None], bin_edges.offsets], dim=1)
    at = torch.cat([values, bin_edges.values], dim=1)
    exact = (at - bin_edges.centre[:, None] == offsets).all(dim=0)  # sums are rounded
    expected = torch.searchsorted(bin_edges.offsets, offsets)
    assert torch.equal(bin_edges.bins(at)[:, exact].long(), expected[:, exact])
    assert exact[: values.shape[1]].all()


@pytest.mark.parametrize("draw", [name for name in DRAWS if name not in ("constant",)])
def test_auroc_is_near_scikit_learn(draw: str) -> None:
    values = DRAWS[draw]()
    spread = values[:1].double().argsort(dim=1).argsort(dim=1)[0] / values.shape[1]
    inside = spread + 0.5 * torch.rand(values.shape[1]) > 1.2
    found, _ = judged(values, inside)
    for unit in range(3):
        expected = roc_auc_score(inside.numpy(), values[unit].double().numpy())
        assert float(found[unit]) == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("num_cases", [1, 2, 4])
def test_activations_are_from_all_over_the_volume(side: int, num_cases: int) -> None:
    """Sides by which evenly spaced places are divided, and a unit that is silent in one slice."""
    shape = (num_cases, 128, 128, side)
    values = torch.randn(shape)
    values[..., 0] = -5
    values, inside = values.reshape(1, -1), values.reshape(-1) > 1.5
    found, threshold = judged(values, inside, num_cases)
    assert float(found[0]) > 0.999
    assert iou_above(values[0], inside, threshold[0]) > 0.94


@pytest.mark.parametrize("count", [1, 5, 40, 400, 4000])
@pytest.mark.parametrize("tail", ["plateau", "ramp"])
def test_rare_high_activations_have_their_own_bins(count: int, tail: str) -> None:
    """A few of 200 000 activations are above all others, by a plateau or a little more each."""
    values = torch.rand(1, 200_000)
    inside = torch.zeros(200_000, dtype=torch.bool)
    inside[torch.randperm(200_000)[:count]] = True
    above = torch.ones(count) if tail == "plateau" else torch.linspace(0.1, 3, count)
    values[0, inside] = 1 + above
    _, threshold = judged(values, inside)
    assert iou_above(values[0], inside, threshold[0]) == 1


def test_bins_of_few_activations_are_ordered() -> None:
    bin_edges = cuts_of(torch.tensor([[1.0, 2.0]]))
    bins = bin_edges.bins(torch.tensor([[0.0, 1.0, 2.0, 3.0]]))[0].tolist()
    assert bins == sorted(bins) and bins[1] < bins[2]
