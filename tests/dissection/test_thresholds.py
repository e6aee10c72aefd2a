"""Thresholds of the units of several layers, found together and by shares."""

from __future__ import annotations

import pytest
import torch

from esegeta.dissection import Thresholds, ThresholdSearch
from esegeta.dissection.parts import UnitParts
from esegeta.predict import LayerGrid, UnitMaps, Units, WindowPlan

LAYERS = (Units("wide", 0, 3), Units("narrow", 0, 2))


def maps_of(case: int) -> list[UnitMaps]:
    grid = LayerGrid(WindowPlan((8, 8)).lay((8, 8)), (8, 8))
    generator = torch.Generator().manual_seed(case)
    return [
        UnitMaps(units, grid, torch.randn(len(units), 8, 8, generator=generator))
        for units in LAYERS
    ]


CASES = [maps_of(case) for case in range(3)]


def new(*, room_mb: float = 1.0, **options: float) -> ThresholdSearch:
    parts = UnitParts(LAYERS, room_mb)
    count = {units.layer: 3 * 64 for units in LAYERS}
    return ThresholdSearch(parts, count, quantile=0.1, upsampled=False, num_cases=3, **options)


def found(search: ThresholdSearch) -> Thresholds:
    for _ in range(search.num_passes):
        for number, case in enumerate(CASES):
            for maps in case:
                search.add(maps, number)
        search.end_pass()
    return search.unit_thresholds()


def test_recomputing_instead_of_keeping_on_disk_gives_the_same_thresholds() -> None:
    whole, counted = new(), new(kept_mb=1e-4)
    assert whole.passes_of_parts == [1, 1]
    assert counted.passes_of_parts == [3, 3]
    expected = found(whole)
    joined = torch.cat([torch.cat([c[n].data.flatten(1) for c in CASES], 1) for n in range(2)])
    assert torch.equal(expected.threshold, joined.sort(dim=1).values[:, -20])
    for name, tensor in found(counted).tensors().items():
        assert torch.equal(tensor, expected.tensors()[name]), name


@pytest.mark.parametrize("kept_mb", [1.0, 1e-4], ids=["values", "counts"])
def test_a_search_resumes_after_each_pass(kept_mb: float) -> None:
    """As parts that share the cases do: each pass runs in another process."""
    search, state = new(kept_mb=kept_mb), {}
    for turn in range(search.num_passes):
        search = new(kept_mb=kept_mb)
        if turn:
            search.resume(turn, state)
        for number, case in enumerate(CASES):
            for maps in case:
                search.merge(maps.units, search.take(maps, number))
        search.end_pass()
        state = search.state()
    last = new(kept_mb=kept_mb)
    last.resume(last.num_passes, state)
    expected = found(new()).tensors()
    for name, tensor in last.unit_thresholds().tensors().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("room", [1 << 25, 0])
def test_bin_edges_are_cached_within_the_memory_limit(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.dissection.thresholds.TABLE_BYTES", room)
    thresholds = found(new())
    rows, device = slice(1, 4), torch.device("cpu")
    edges = thresholds.edges_of(rows, device)
    assert (thresholds.edges_of(rows, device) is edges) == (room > 0)
    values = torch.linspace(-3, 3, 40).repeat(3, 1)
    whole = thresholds.bin_edges.bins(torch.linspace(-3, 3, 40).repeat(5, 1))
    assert torch.equal(edges.bins(values), whole[rows])
