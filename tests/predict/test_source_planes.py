"""A prediction that comes slab by slab is brought to the scan's grid as one that is held is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from esegeta.model import Labels
from esegeta.predict import SourceGrid
from esegeta.predict import source_grid as module
from esegeta.predict.source_planes import PlanesAlong
from esegeta.targets import Scene
from esegeta.volume import Grid, Preprocess, Respace, Volume, volume_from_tensor
from tests.allocations import Allocations
from tests.builders import affine_of, pointwise, predictor

NUM = 4
SHAPE = (12, 8, 9)
KNOWN = {
    "softmax": Labels({1: "one", 2: "two", 3: "three"}, "softmax", NUM),
    "sigmoid": Labels({1: "one", 2: "two", 3: "three", 4: "four"}, "sigmoid", NUM),
    "steps": Labels.of(
        {1: "one", 2: "two", 3: "three", 4: "four"},
        "sigmoid",
        NUM,
        postprocessing={"keep_largest": True, "fill_holes": True},
    ),
}
TURNED = np.array([[0, 0, 1, 3], [-1, 0, 0, 5], [0, 1, 0, -2], [0, 0, 0, 1.0]])
"""Axes in another order, one of them backwards."""


def case(kind: str) -> Volume:
    data = torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(0))
    affine = affine_of("anisotropic") @ (TURNED if kind != "plain" else np.eye(4))
    spacing = None if kind == "not interpolated" else (0.6, 1.3, 2.2)
    preprocess = Preprocess("RAS", spacing)
    return preprocess(volume_from_tensor(data, affine=affine))


def both(volume: Volume, known: Labels, rule: Any) -> tuple[SourceGrid, SourceGrid]:
    model = predictor(pointwise(3, out_channels=NUM), (4, 4, 4), num_outputs=NUM)
    model = replace(model, labels=known)
    slabs = Scene(replace(model, held_mb=0), volume).on_source(rule)
    return Scene(model, volume).on_source(rule), slabs


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("kind", ["plain", "turned", "not interpolated"])
@pytest.mark.parametrize("labels", KNOWN)
def test_slabs_equal_the_whole_result(kind: str, rule: Any, labels: str) -> None:
    whole, slabs = both(case(kind), KNOWN[labels], rule)
    expected, found = dict(whole.masks()), dict(slabs.masks())
    assert expected.keys() == found.keys()
    for name, mask in expected.items():
        assert torch.equal(found[name], mask), name
    assert torch.equal(slabs.label_map.long(), whole.label_map)
    names = ["three", "one"]
    for (name, own), (_, other) in zip(
        slabs.probabilities(names), whole.probabilities(names), strict=True
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("values", [1, 2000])
def test_the_size_of_groups_of_planes_makes_no_difference(
    values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, slabs = both(case("turned"), KNOWN["softmax"], "logits")
    expected = whole.label_map
    monkeypatch.setattr(module, "SLAB_VALUES", values)
    assert torch.equal(slabs.label_map.long(), expected)


def test_a_coarse_axis_takes_the_nearest_slices() -> None:
    affine = np.diag([1, 1, 5, 1.0])
    data = torch.randn((1, 10, 8, 6), generator=torch.Generator().manual_seed(0))
    volume = Preprocess(None, (1.3, 1.3, 4.0))(volume_from_tensor(data, affine=affine))
    moves = tuple(
        replace(move, separate_axis=True) if isinstance(move, Respace) else move
        for move in volume.route.moves
    )
    volume = replace(volume, route=replace(volume.route, moves=moves))
    whole, slabs = both(volume, KNOWN["softmax"], "logits")
    assert torch.equal(slabs.label_map.long(), whole.label_map)


def test_oblique_grids_share_no_planes() -> None:
    straight = Grid((4, 4, 4), np.eye(4))
    assert PlanesAlong.of(straight, Grid((4, 4, 4), affine_of("oblique")), 0) is None
    found = PlanesAlong.of(straight, Grid((4, 4, 4), TURNED), 0)
    assert found is not None
    assert found.along == 2


def test_memory_holds_at_most_one_slab_of_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLAB_VALUES", 1)
    data = torch.randn((1, 8, 8, 24), generator=torch.Generator().manual_seed(0))
    volume = Preprocess(None, (1.0, 1.0, 0.9))(volume_from_tensor(data, affine=np.eye(4)))
    _, slabs = both(volume, KNOWN["softmax"], "logits")
    with Allocations() as held:
        slabs.label_map  # noqa: B018
    voxels = volume.data.numel()
    assert held.largest <= max(NUM * 4 * 8 * 8 * 4, 8 * voxels)
    assert held.largest < NUM * voxels * 4
