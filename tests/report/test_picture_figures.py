"""Figures of pictures: upright in either reading, colours in colour, sums where there are no ml."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from esegeta.explain import Attribution, RegionRow
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.report import draw_overlay, draw_regions, panels_of
from esegeta.report.overlay import overlay_figure
from esegeta.report.unit_figures import unit_figure
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume, load_volume
from tests.builders import scene
from tests.volume.files import noise, save_nifti

HEIGHT, WIDTH = 14, 20
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
AXES = ["yx", "xy"]


def opened(folder: Path, rows: np.ndarray, axes: str) -> Volume:
    Image.fromarray(rows).save(folder / "a.png")
    return load_volume(folder / "a.png", picture_axes=axes)


def attribution_of(volume: Volume, map_: torch.Tensor) -> Attribution:
    logits = torch.zeros((1, 2, *map_.shape))
    target = FrozenTarget(lambda y: y.sum(), map_ != 0, "logit", "a target", scene(logits))
    return Attribution(map_[None], CONTRIBUTION, "saliency", {}, volume, target)


def corner_map(axes: str) -> np.ndarray:
    """Return a map `H W` that is not zero in the picture's upper left and nowhere else."""
    rows = np.zeros((HEIGHT, WIDTH), np.float32)
    rows[:3, :5] = 1.0
    return rows


def seen(axis, place: int) -> np.ndarray:
    """Return an image of a panel as a person sees it, the top row first."""
    shown = axis.images[place]
    assert shown.origin == "lower"
    array = np.asarray(shown.get_array())[::-1]
    left, right = axis.get_xlim()
    return array[:, ::-1] if left > right else array


def in_range(values: np.ndarray) -> np.ndarray:
    """Scale by the 1st and 99th percentile, over all colours, of what is above the smallest."""
    low, high = np.percentile(values[values > values.min()], (1.0, 99.0))
    return np.clip((values - low) / (high - low), 0, 1)


@pytest.mark.parametrize("axes", AXES)
def test_a_picture_is_upright_under_its_map(
    axes: str, tmp_path: Path, figures: list[Figure]
) -> None:
    rows = RGB[..., 0]
    volume = opened(tmp_path, rows, axes)
    map_ = corner_map(axes) if axes == "yx" else corner_map(axes).T
    draw_overlay(tmp_path / "o.png", attribution_of(volume, torch.from_numpy(map_.copy())), "t")
    axis = figures[0].axes[0]
    np.testing.assert_array_equal(seen(axis, 0), rows)
    np.testing.assert_array_equal(seen(axis, 1)[..., 3] > 0, corner_map(axes) > 0)
    assert axis.images[0].get_extent() == [0, WIDTH, 0, HEIGHT]


@pytest.mark.parametrize("axes", AXES)
def test_colour_pictures_are_drawn_in_colour(
    axes: str, tmp_path: Path, figures: list[Figure]
) -> None:
    volume = opened(tmp_path, RGB, axes)
    map_ = torch.from_numpy(
        np.ascontiguousarray(corner_map(axes) if axes == "yx" else corner_map(axes).T)
    )
    draw_overlay(tmp_path / "o.png", attribution_of(volume, map_), "t")
    found = seen(figures[0].axes[0], 0)
    assert found.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(found, in_range(RGB.astype(np.float64)), atol=1e-5)
    np.testing.assert_array_equal(seen(figures[0].axes[0], 1)[..., 3] > 0, corner_map(axes) > 0)


@pytest.mark.parametrize("axes", AXES)
def test_outlines_lie_on_their_voxels(axes: str, tmp_path: Path) -> None:
    volume = opened(tmp_path, RGB, axes)
    rows = np.zeros((HEIGHT, WIDTH), np.float32)
    rows[2:6, 9:17] = 1.0
    map_ = torch.from_numpy(np.ascontiguousarray(rows if axes == "yx" else rows.T))
    axis = overlay_figure(attribution_of(volume, map_), "t").axes[0]
    (box,) = {path.get_extents().bounds for one in axis.collections for path in one.get_paths()}
    left, bottom, width, height = box
    # Half a pixel inside or out is where the line runs between the mask and the rest.
    assert width == pytest.approx(8)
    assert height == pytest.approx(4)
    assert WIDTH - (left + width) == pytest.approx(9)  # mirrored: from the right edge
    assert HEIGHT - (bottom + height) == pytest.approx(2)


@pytest.mark.parametrize("axes", AXES)
def test_panels_of_units_show_colour_pictures(axes: str, tmp_path: Path) -> None:
    volume = opened(tmp_path, RGB, axes)
    mask = torch.zeros(volume.grid.shape, dtype=torch.bool)
    mask[2:6, 3:9] = True
    (panel,) = panels_of(volume, mask, mask, "a", channel=1)
    assert panel.title == "a"
    figure = unit_figure("t", ("u", "c"), [[panel]])
    found = seen(figure.axes[0], 0)
    np.testing.assert_allclose(found, in_range(RGB.astype(np.float64)), atol=1e-5)
    shown = mask.numpy() if axes == "yx" else mask.numpy().T
    np.testing.assert_array_equal(panel.unit[::-1, ::-1], shown)


def test_three_files_or_a_scan_of_three_channels_are_not_drawn_in_colour(tmp_path: Path) -> None:
    volume = opened(tmp_path, RGB[..., 0], "yx")
    three = load_volume([tmp_path / "a.png"] * 3)
    scan = load_volume(save_nifti(tmp_path / "a.nii", noise((6, 5, 4, 3))))
    for several in (three, scan):
        mask = torch.zeros(several.grid.shape, dtype=torch.bool)
        mask[2:4, 2:4] = True
        for panel in panels_of(several, mask, mask, "a", channel=2):
            assert panel.image.ndim == 2
            assert panel.title.endswith("channel 2")
    assert volume.num_channels == 1


@pytest.mark.parametrize("is_picture", [True, False])
def test_regions_of_pictures_are_drawn_by_their_sums(
    is_picture: bool, tmp_path: Path, figures: list[Figure]
) -> None:
    rows = [
        RegionRow("organs", "outside", "all", 0.4, -3.0, math.nan, math.nan, math.nan),
        RegionRow("organs", "liver", "all", 0.6, 4.5, math.nan, math.nan, math.nan),
    ]
    volume = opened(tmp_path, RGB[..., 0], "yx")
    if not is_picture:
        rows = [
            RegionRow(*list(vars(row).values())[:5], 2.0, row.signed_sum / 2, 1.0) for row in rows
        ]
        volume = load_volume(save_nifti(tmp_path / "a.nii", noise((HEIGHT, WIDTH))))
    draw_regions(
        tmp_path / "r.png", rows, "t", attribution_of(volume, torch.ones(volume.grid.shape))
    )
    right = figures[0].axes[1]
    lengths = {bar.get_width() for bar in right.patches}
    assert lengths == ({-3.0, 4.5} if is_picture else {-1.5, 2.25})
    assert right.get_title() == ("sum" if is_picture else "sum per ml")
    assert right.get_xlabel().startswith("logit\n" if is_picture else "logit / ml\n")
