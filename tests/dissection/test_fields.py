"""Smooth random fields, the voxels drawn from them, and blocks of voxels that stand for these."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from esegeta.dissection.blocks import Blocks, box_of, parts_in_box
from esegeta.dissection.fields import Fields
from esegeta.dissection.surrogates import Surrogates, numbered, width_vox
from esegeta.dissection.tally import ConceptParts
from tests.dissection.bodies import SHAPES, above_of, ellipsoid, smooth, space_of
from tests.dissection.drawn import overlaps


def test_fields_are_as_smooth_along_each_axis_as_they_are_asked_for() -> None:
    """Neighbours at distance h correlate by exp(-h^2 / 4 s^2)."""
    fields = Fields((1.0, 2.0, 3.0), torch.zeros(40, 40, 40, dtype=torch.int64), 0)
    field = fields._field(torch.Generator().manual_seed(0))
    for axis, width in enumerate((1.0, 2.0, 3.0)):
        found = torch.corrcoef(torch.stack([field, field.roll(2, axis)]).flatten(1))[0, 1]
        assert float(found) == pytest.approx(math.exp(-(2**2) / (4 * width**2)), abs=0.06)


@pytest.mark.parametrize("shape", [(31, 17), (9, 12, 7)])
def test_a_field_is_white_noise_through_a_gaussian_filter(shape: tuple[int, ...]) -> None:
    """By the whole spectrum in float64, which damps exp(-2 (pi s f)^2) along each axis."""
    widths = (1.0, 2.0, 0.5)[: len(shape)]
    fields = Fields(widths, torch.zeros(shape, dtype=torch.int64), 0)
    field = fields._field(torch.Generator().manual_seed(3))
    noise = torch.randn(field.shape, generator=torch.Generator().manual_seed(3)).double()
    spectrum = torch.fft.fftn(noise)
    axes = [torch.fft.fftfreq(side, dtype=torch.float64) for side in field.shape]
    for width, frequency in zip(widths, torch.meshgrid(*axes, indexing="ij"), strict=True):
        spectrum = spectrum * torch.exp(-2 * (math.pi * width * frequency) ** 2)
    expected = torch.fft.ifftn(spectrum).real
    assert torch.allclose(field.double(), expected, rtol=0, atol=1e-6)


def test_draws_are_the_largest_values_of_the_body(ndim: int) -> None:
    """The masks have the unit's size, lie in the body, and are everywhere in it as often."""
    body = ellipsoid(SHAPES[ndim])
    fields = Fields((width_vox(4),) * ndim, numbered(body), 1)
    ranked = torch.cat(list(fields.draws(600, 50)))
    assert ranked.shape == (600, 50)
    assert body.flatten()[ranked].all()
    assert all(len(set(row.tolist())) == 50 for row in ranked[:20])
    half = torch.zeros_like(body)
    half[: SHAPES[ndim][0] // 2] = True
    shares = half.flatten()[ranked].double().mean(dim=1)
    expected = float((half & body).sum() / body.sum())
    assert abs(float(shares.mean()) - expected) < 4 * float(shares.std()) / math.sqrt(600 / 5)


@pytest.mark.parametrize("table", [0, 1 << 22], ids=["lines", "table"])
@pytest.mark.parametrize(
    ("most", "row", "width"),
    [(20, 256, 4.0), (20, 1, 4.0), (600, 256, 4.0), (600, 1, 4.0), (5, 256, 40.0)],
)
def test_draws_equal_sorting_the_whole_field(
    most: int, row: int, width: float, table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few voxels are moved, many are sorted; a body may hold too few of the first at first.

    In the valley of a field with one lump it holds none but the last.
    """
    monkeypatch.setattr("esegeta.dissection.fields.VALUES_AT_A_TIME", 5000)
    monkeypatch.setattr("esegeta.dissection.fields.TABLE_POINTS", table)
    monkeypatch.setattr("esegeta.dissection.fields.ROW_BY_ROW", row)
    monkeypatch.setattr("esegeta.dissection.fields.LONG_ROW", row)
    body = ellipsoid((30, 44))
    fields = Fields((width, width), numbered(body), 4)
    generator = torch.Generator().manual_seed(fields.seed)
    field = fields._field(generator)
    shifts = [
        torch.randint(n, (fields.draws_of_a_field,), generator=generator) for n in field.shape
    ]
    found = next(iter(fields.draws(1000, most)))
    assert found.shape == (fields.draws_of_a_field, most)
    for drawn, (down, along) in zip(found, zip(*shifts, strict=True), strict=True):
        moved = torch.zeros(30, 44)
        box = tuple(slice(side) for side in fields.body.shape)
        moved[box_of(body)] = field.roll((int(down), int(along)), (0, 1))[box]
        values = torch.where(body, moved, -math.inf).flatten()
        expected = values.sort(descending=True).values[:most]
        assert torch.equal(values[drawn], expected)


def test_blocks_sum_up_their_voxels(ndim: int) -> None:
    """Counted one by one; the last block in proportion."""
    generator = torch.Generator().manual_seed(0)
    shape = (13, 11, 9)[:ndim]
    body = ellipsoid(shape)
    concepts = torch.rand((3, *shape), generator=generator) < 0.3
    partition = ConceptParts.of(list(concepts))
    sides = (2, 3, 1)[:ndim]
    blocks = Blocks.of(partition, parts_in_box(partition, body), sides)
    index = body.nonzero()
    voxels = index - index.amin(dim=0)
    ids = {tuple(one): n for n, one in enumerate((blocks.numbers >= 0).nonzero().tolist())}
    of_voxel = [ids[tuple(int(v) // s for v, s in zip(one, sides, strict=True))] for one in voxels]
    own = torch.tensor(of_voxel)
    inside = concepts[:, body]
    ranked = torch.randperm(len(ids), generator=generator)[None, : blocks.enough(20)]
    found = blocks.overlaps(ranked, torch.tensor([1, 7, 20]))
    for unit, size in enumerate((1, 7, 20)):
        left, expected = float(size), torch.zeros(3, dtype=torch.float64)
        for block in ranked[0].tolist():
            held = own == block
            share = min(left / int(held.sum()), 1.0)
            expected += share * inside[:, held].sum(dim=1)
            left -= share * int(held.sum())
        assert left == pytest.approx(0)
        assert torch.equal(found[0, unit], expected.round().long())


@pytest.mark.slow
def test_blocks_give_the_same_distribution_as_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    body = ellipsoid((70, 66))
    blob = ndimage.gaussian_filter(np.eye(70, 66)[::-1] * 5.0, 6) > 0.25
    partition = ConceptParts.of([torch.from_numpy(blob.copy())])
    units = torch.from_numpy(np.stack([smooth(np.random.default_rng(1), (70, 66), 6.0) > 1.4]))
    drawn = {}
    for voxels in (0, 1 << 16):
        monkeypatch.setattr("esegeta.dissection.blocks.SMALL_VOXELS", voxels)
        null = Surrogates(samples=2000, seed=voxels)
        drawn[voxels] = overlaps(null, above_of(units), partition, 1, space_of(body))[:, 0, 0]
    # Of 80 fields each: draws of one field are alike.
    assert stats.ks_2samp(*(values[::10].numpy() for values in drawn.values())).pvalue > 0.01
