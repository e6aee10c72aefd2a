"""Figures of a map: over its image, by region, and the curves behind its scores."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from esegeta.explain import EXPLAINERS, Attribution, Meaning, RegionRow, Saliency
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.report import draw_curves, draw_overlay, draw_regions
from esegeta.report.map_figures import MOST_REGIONS, _turn, centre_of_mass
from esegeta.targets import FrozenTarget
from esegeta.volume import volume_from_tensor
from tests.builders import affine_of, scene
from tests.experiments import pointwise_lab, save_image
from tests.report.test_csv_tables import CURVES

CENTRES = {
    "one voxel": ({(2, 3, 4): 5.0}, (2, 3, 4)),
    "two of one weight": ({(0, 2, 4): 1.0, (4, 2, 0): 1.0}, (2, 2, 2)),
    "two of unlike weight": ({(0, 0, 0): 1.0, (4, 4, 4): 3.0}, (3, 3, 3)),
    "a corner": ({(5, 5, 5): 0.1}, (5, 5, 5)),
}


@pytest.mark.parametrize("case", CENTRES)
def test_centre_of_mass(case: str) -> None:
    weights, expected = CENTRES[case]
    magnitude = np.zeros((6, 6, 6), np.float32)
    for index, weight in weights.items():
        magnitude[index] = weight
    assert centre_of_mass(magnitude) == expected


def test_centre_of_mass_of_nothing_is_the_middle() -> None:
    assert centre_of_mass(np.zeros((5, 9))) == (2, 4)


def attribution_of(
    map_: np.ndarray, affine: np.ndarray, image: np.ndarray, meaning: Meaning = CONTRIBUTION
) -> Attribution:
    volume = volume_from_tensor(torch.from_numpy(image)[None], affine=affine)
    mask = torch.from_numpy(np.abs(map_) > 0)
    logits = torch.zeros((1, 2, *map_.shape))
    frozen = FrozenTarget(lambda y: y.sum(), mask, "logit", "a target", scene(logits))
    return Attribution(torch.from_numpy(map_)[None], meaning, "saliency", {}, volume, frozen)


def flat_map(meaning: Meaning = CONTRIBUTION) -> Attribution:
    ones = np.ones((6, 5), np.float32)
    return attribution_of(ones, np.eye(4), ones, meaning)


def blob(shape: tuple[int, ...], value: float) -> np.ndarray:
    map_ = np.zeros(shape, np.float32)
    map_[tuple(slice(n // 3, 2 * n // 3) for n in shape)] = value
    return map_


def pixels(path: Path) -> np.ndarray:
    return imread(path)[..., :3]


def count(picture: np.ndarray, colour: str) -> int:
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    if colour == "red":
        return int(((red > blue + 0.2) & (red > green + 0.2)).sum())
    return int(((blue > red + 0.2) & (blue > green)).sum())


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((12, 11, 9), "anisotropic"),
        ((12, 11, 9), "oblique"),
        ((12, 11, 9), "sheared"),
        ((13, 11), "anisotropic"),
        ((13, 11), "oblique"),
        ((12, 11, 1), "anisotropic"),
    ],
)
def test_the_picture_shows_the_sign_of_the_map(
    shape: tuple[int, ...], kind: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    pictures = {}
    for sign in (1.0, -1.0):
        map_ = blob(shape, sign) if shape[-1] > 1 else np.full(shape, sign, np.float32)
        path = tmp_path / f"{sign}.png"
        draw_overlay(path, attribution_of(map_, affine_of(kind, len(shape)), image), "title")
        pictures[sign] = pixels(path)
    # The colour bar holds both colours, so what counts is which grows.
    assert count(pictures[1.0], "red") > 1.5 * count(pictures[-1.0], "red")
    assert count(pictures[-1.0], "blue") > 1.5 * count(pictures[1.0], "blue")
    for picture in pictures.values():
        assert picture.std() > 0.1
        assert 400 < picture.shape[0] < 1200


def test_an_image_of_one_value_and_a_map_of_nothing_are_drawn(tmp_path: Path) -> None:
    shape = (8, 7, 6)
    flat = np.zeros(shape, np.float32)
    path = tmp_path / "flat.png"
    draw_overlay(path, attribution_of(flat, np.eye(4), flat), "title")
    assert pixels(path).std() > 0


@pytest.mark.parametrize("kind", ["anisotropic", "flipped", "oblique"])
def test_slices_are_turned_so_that_axes_point_right_anterior_superior(kind: str) -> None:
    affine = affine_of(kind)[:, [1, 2, 0, 3]]  # columns permuted: axes are no longer x, y, z
    shape = (6, 5, 4)
    map_ = np.zeros(shape, np.float32)
    map_[5, 4, 0] = 1.0
    turned = _turn(attribution_of(map_, affine, map_))
    assert turned.map.shape == (4, 6, 5)
    index = tuple(int(value) for value in np.argwhere(turned.map)[0])
    expected = (3 if kind == "flipped" else 0, 5, 4)
    assert index == expected
    np.testing.assert_array_equal(turned.mask, turned.map != 0)
    np.testing.assert_allclose(turned.spacing_mm, (0.7, 1.9, 3.1))


def test_a_run_writes_its_pictures(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    save_image(tmp_path / "a.nii.gz", blob((12, 11, 9), 2.0) - 1)
    assert lab.run().exit_code == 0
    picture = pixels(lab.file("a", "liver", "saliency", "overlay.png"))
    assert count(picture, "red") > 1000
    assert picture.std() > 0.1


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((16, 16, 1), np.eye(4)),
        ((16, 12), np.array([[2.0, 0, 0, 5], [0, 0, 1, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])),
    ],
    ids=["one slice", "a coronal 2D slice"],
)
def test_slices_are_drawn(shape: tuple[int, ...], affine: np.ndarray, tmp_path: Path) -> None:
    map_ = blob(shape, 2.0) if len(shape) == 2 else blob(shape[:2], 2.0)[..., None]
    draw_overlay(tmp_path / "a.png", attribution_of(map_, affine, np.zeros(shape, np.float32)), "a")
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.05


def row(atlas: str, region: str, channel: str, share: float, per_ml: float) -> RegionRow:
    return RegionRow(atlas, region, channel, share, 1.0, 1.0, per_ml, 1.0)


MEANINGS = list(dict.fromkeys(kind().meaning for kind in EXPLAINERS.values()))
MEANINGS.append(Saliency(absolute=True).meaning)


def bars_of(figure: Figure) -> dict[tuple[str, str], list[float]]:
    """Return the lengths of the bars of each panel, from the first region down."""
    panels = {}
    left, right = figure.axes[0::2], figure.axes[1::2]
    for one, other in zip(left, right, strict=True):
        for side, axis in (("share", one), ("per_ml", other)):
            panels[one.get_ylabel(), side] = [bar.get_width() for bar in axis.patches]
    return panels


def test_bars_are_the_rows(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [
        row("image", "all", "t1", 0.7, 2.0),
        row("image", "all", "t2", 0.3, -1.0),
        row("organs", "outside", "t1", 0.1, 0.5),
        row("organs", "outside", "t2", 0.2, -4.0),
        row("organs", "liver", "t1", 0.6, 3.0),
        row("organs", "liver", "t2", 0.1, 1.0),
        row("organs", "gone", "t1", 0.0, math.nan),
        row("organs", "gone", "t2", 0.0, math.nan),
    ]
    path = tmp_path / "regions.png"
    draw_regions(path, rows, "title", flat_map())
    assert path.stat().st_size > 5000
    (figure,) = figures
    panels = bars_of(figure)
    assert panels["image", "share"] == [0.7, 0.3]
    assert panels["organs", "share"] == [0.1, 0.6, 0.0, 0.2, 0.1, 0.0]
    assert panels["organs", "per_ml"] == [0.5, 3.0, 0.0, -4.0, 1.0, 0.0]
    labels = [text.get_text() for text in figure.axes[2].get_yticklabels()]
    assert labels == ["outside", "liver", "gone"]
    low, high = figure.axes[3].get_xlim()
    assert low == -high < -4
    assert figure.axes[2].yaxis_inverted()


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.legend)
def test_legends_say_what_the_map_means(
    tmp_path: Path, figures: list[Figure], meaning: Meaning
) -> None:
    map_ = flat_map(meaning)
    draw_overlay(tmp_path / "map.png", map_, "title")
    draw_regions(tmp_path / "regions.png", [row("x", "r", "all", 1.0, 1.0)], "title", map_)
    overlay, regions = figures
    unit = meaning.unit_for("logit")
    assert overlay.axes[-1].get_ylabel() == f"{unit}   ({meaning.legend})"
    assert regions.axes[1].get_xlabel() == f"{unit} / ml\n({meaning.legend})"
    for figure in figures:
        text = " ".join(item.get_text() for item in figure.findobj(Text))
        assert ("raises the target" in text) == ("raises the target" in meaning.legend)


def test_too_many_regions_leave_the_smallest_to_the_table(
    tmp_path: Path, figures: list[Figure]
) -> None:
    shares = [(place * 37 % 100) / 1000 for place in range(60)]
    rows = [row("x", f"r{place}", "all", share, 1.0) for place, share in enumerate(shares)]
    draw_regions(tmp_path / "regions.png", rows, "title", flat_map())
    found = bars_of(figures[0])["x", "share"]
    assert sorted(found, reverse=True) == sorted(shares, reverse=True)[:MOST_REGIONS]


def test_the_picture_has_a_panel_for_each_score_and_a_line_for_each_curve(
    tmp_path: Path, figures: list[Figure]
) -> None:
    draw_curves(tmp_path / "c.png", CURVES, "a: t, m")
    first, second = figures[0].axes
    assert first.get_title() == "deletion"
    assert [line.get_label() for line in first.lines] == ["most first", "least first"]
    assert first.lines[1].get_ydata().tolist() == [1.0, 0.5]
    texts = [tick.get_text() for tick in second.get_xticklabels()]
    assert texts[1] == "model.0"
    assert texts[0].startswith("…")
    assert texts[0].endswith("conv.unit0")
    assert len(texts[0]) == 20
    assert (tmp_path / "c.png").stat().st_size > 0
