"""The geometry of windows, against brute force over every voxel."""

from __future__ import annotations

import itertools

import pytest
import torch
from monai.data.utils import dense_patch_slices

from esegeta.errors import ConfigError
from esegeta.predict import Pass, WindowPlan, Windows
from esegeta.predict.blend import coverage_of

GRIDS = {
    "2d": ((21, 17), (8, 6), 0.5),
    "2d, smaller": ((5, 17), (8, 8), 0.25),
    "3d": ((9, 13, 11), (8, 4, 6), (0.5, 0.0, 0.75)),
    "3d, smaller": ((5, 3, 12), (8, 8, 8), 0.6),
}


@pytest.fixture(params=GRIDS)
def windows(request: pytest.FixtureRequest) -> Windows:
    shape, window, overlap = GRIDS[request.param]
    return WindowPlan(window, overlap=overlap).lay(shape)


def voxels_of(box: tuple[slice, ...]) -> set[tuple[int, ...]]:
    return set(itertools.product(*(range(part.start, part.stop) for part in box)))


def in_padded(box: tuple[slice, ...], windows: Windows) -> tuple[slice, ...]:
    return tuple(
        slice(part.start + low, part.stop + low)
        for part, (low, _) in zip(box, windows.padding, strict=True)
    )


def test_boxes_equal_those_of_monai(windows: Windows) -> None:
    intervals = [
        size if size == length else int(size * (1 - overlap))
        for size, length, overlap in zip(
            windows.size, windows.padded_shape, windows.overlap, strict=True
        )
    ]
    expected = dense_patch_slices(windows.padded_shape, windows.size, intervals)
    assert list(windows.boxes) == [tuple(box) for box in expected]


def test_every_voxel_is_covered_by_whole_windows_inside_the_padded_volume(
    windows: Windows,
) -> None:
    covered = set().union(*(voxels_of(box) for box in windows.boxes))
    assert covered == set(itertools.product(*map(range, windows.padded_shape)))
    for box in windows.boxes:
        assert tuple(part.stop - part.start for part in box) == windows.size


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("grid", GRIDS)
def test_normalised_importances_sum_to_one_at_each_voxel(grid: str, blend: str) -> None:
    shape, window, overlap = GRIDS[grid]
    windows = WindowPlan(window, overlap=overlap, blend=blend).lay(shape)
    weights = windows.importance(torch.device("cpu"), torch.float64)
    coverage = coverage_of(windows.outputs, torch.device("cpu"), torch.float64)
    assert (weights > 0).all()
    total = torch.zeros(windows.padded_shape, dtype=torch.float64)
    for box in windows.boxes:
        total[box] += weights / coverage[box]
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("flips", [(), (0,), (0, 1)])
def test_a_part_of_a_mirrored_window_is_cut_at_the_mirrored_place(flips: tuple[int, ...]) -> None:
    windows = WindowPlan((8, 6), overlap=0.5, passes=(Pass(0, flips),)).lay((21, 17))
    padded = torch.arange(21.0 * 17).reshape(1, 1, 21, 17)
    part = (slice(1, 4), slice(2, 6))
    for window, box in enumerate(windows.boxes):
        seen = windows.cut(padded, [window], parts=[part])[0]
        there = padded[0][(slice(None), *windows.box_of_part(window, part))]
        assert torch.equal(windows.turned(seen, window), there)
        assert windows.box_of_part(window, None) == box


def test_gaussian_importance_is_the_gaussian(ndim: int) -> None:
    """sigma is an eighth of the window, and nothing falls below a thousandth."""
    size = (8, 6, 5)[:ndim]
    found = WindowPlan(size).lay(size).importance(torch.device("cpu"), torch.float64)
    expected = torch.ones(size, dtype=torch.float64)
    for axis, length in enumerate(size):
        steps = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
        shape = [length if other == axis else 1 for other in range(ndim)]
        expected = expected * (-0.5 * (steps / (length / 8)) ** 2).exp().reshape(shape)
    torch.testing.assert_close(found, expected.clamp(min=1e-3), rtol=1e-5, atol=1e-7)


def test_touching_box_equals_brute_force(windows: Windows) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        corners = [
            sorted(torch.randint(0, length + 1, (2,), generator=generator).tolist())
            for length in windows.shape
        ]
        box = tuple(slice(low, max(high, low + 1)) for low, high in corners)
        held = voxels_of(in_padded(box, windows))
        expected = [index for index, window in enumerate(windows.boxes) if voxels_of(window) & held]
        assert windows.touching_box(box) == expected


def test_touching_a_mask_equals_brute_force(windows: Windows) -> None:
    generator = torch.Generator().manual_seed(2)
    for count in (0, 1, 3, 10):
        mask = torch.zeros(windows.shape, dtype=torch.bool)
        picks = torch.randint(0, mask.numel(), (count,), generator=generator)
        mask.view(-1)[picks] = True
        lows = [low for low, _ in windows.padding]
        marked = {
            tuple(index + low for index, low in zip(voxel, lows, strict=True))
            for voxel in mask.nonzero().tolist()
        }
        expected = [
            index for index, window in enumerate(windows.boxes) if voxels_of(window) & marked
        ]
        assert windows.touching(mask) == expected


def test_cropping_undoes_padding(windows: Windows) -> None:
    data = torch.randn(2, *windows.shape)
    padded = windows.pad(data)
    assert tuple(padded.shape[1:]) == windows.padded_shape
    assert torch.equal(windows.crop(padded), data)
    assert torch.isclose(padded.sum(), data.sum(), atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_2d_window_is_one_slice_thick_along_its_axis(axis: int) -> None:
    windows = WindowPlan((4, 6), overlap=(0.5, 0.0), slice_axis=axis).lay((9, 10, 11))
    size = [4, 6]
    size.insert(axis, 1)
    assert windows.size == tuple(size)
    assert windows.slice_axis == axis
    starts = sorted({box[axis].start for box in windows.boxes})
    assert starts == list(range((9, 10, 11)[axis]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (8, 8), "overlap": 1.0}, "outside"),
        ({"size": (8, 8), "overlap": -0.1}, "outside"),
        ({"size": (8, 8), "overlap": (0.5, 1.2)}, "outside"),
        ({"size": (8, 8), "overlap": (0.5, 0.5, 0.5)}, "does not fit"),
        ({"size": (8,)}, "not a window"),
        ({"size": (8, 0)}, "not a window"),
        ({"size": (8, 8, 8, 8)}, "not a window"),
        ({"size": (8, 8), "slice_axis": 3}, "slice_axis"),
    ],
)
def test_bad_plans_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WindowPlan(**arguments)


def test_a_3d_window_over_a_2d_volume_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"2D volume.*give 2 lengths"):
        WindowPlan((8, 8, 8)).lay((20, 20))
