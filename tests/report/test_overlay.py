"""The picture of a map: through the target, in colours that hold, in words for what is seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from esegeta.explain import EXPLAINERS, Meaning, Saliency
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.report import draw_overlay
from esegeta.report.overlay import overlay_figure, scale_doubts, sentences
from esegeta.volume import display_of
from tests.builders import affine_of
from tests.experiments import pointwise_lab, save_image
from tests.report.maps import attribution_of, flat_map


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
@pytest.mark.slow
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


def test_a_constant_image_and_a_map_of_zeros_are_drawn(tmp_path: Path) -> None:
    shape = (8, 7, 6)
    flat = np.zeros(shape, np.float32)
    path = tmp_path / "flat.png"
    draw_overlay(path, attribution_of(flat, np.eye(4), flat), "title")
    assert pixels(path).std() > 0


@pytest.mark.slow
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
def test_images_in_two_dimensions_are_drawn(
    shape: tuple[int, ...], affine: np.ndarray, tmp_path: Path
) -> None:
    map_ = blob(shape, 2.0) if len(shape) == 2 else blob(shape[:2], 2.0)[..., None]
    draw_overlay(tmp_path / "a.png", attribution_of(map_, affine, np.zeros(shape, np.float32)), "a")
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.05


MEANINGS = list(dict.fromkeys(kind().meaning for kind in EXPLAINERS.values()))
MEANINGS.append(Saliency(absolute=True).meaning)


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def words_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.legend)
def test_colours_are_explained_and_blue_only_for_signed_maps(
    meaning: Meaning,
) -> None:
    attribution = flat_map(meaning)
    target = replace(attribution.target, plain="the liver score")
    attribution = replace(attribution, target=target)
    texts = sentences(attribution)
    assert [text.split(":")[0] for text in texts[:2]] == ["red", "blue"] or not meaning.is_signed
    assert len(texts) == 1 + meaning.is_signed
    assert "the liver score" in texts[0]
    figure = overlay_figure(attribution, "title")
    assert legend_of(figure)[: len(texts)] == texts
    bar = figure.axes[-1]
    assert bar.get_ylabel() == meaning.unit_for("logit")
    assert (min(bar.get_yticks()) < 0) == meaning.is_signed


def test_the_colours_are_explained_in_clinical_words() -> None:
    attribution = flat_map(CONTRIBUTION)
    target = replace(attribution.target, plain="the liver score")
    assert sentences(replace(attribution, target=target)) == [
        "red: raises the liver score",
        "blue: lowers it",
    ]


def test_warnings_are_on_the_picture_once() -> None:
    attribution = replace(flat_map(), warnings=("not complete: 12 %", "not complete: 12 %"))
    words = words_of(overlay_figure(attribution, "title", ["no better than noise"]))
    assert words.count("not complete: 12 %") == 1
    assert "⚠ no better than noise" in words
    assert "⚠" not in words_of(overlay_figure(flat_map(), "title"))


def test_too_many_warnings_are_counted() -> None:
    doubts = [f"doubt {number}" for number in range(9)]
    words = words_of(overlay_figure(flat_map(), "title", doubts))
    assert "doubt 4" in words
    assert "doubt 5" not in words
    assert "and 4 more, in the sidecar" in words


def test_a_degenerate_colour_scale_is_warned_of() -> None:
    even = np.linspace(-1, 1, 1001)
    assert scale_doubts(even, display_of(even, is_signed=True)) == []
    peaked = np.where(np.arange(1001) == 500, 1e6, 1.0)
    (doubt,) = scale_doubts(peaked, display_of(peaked, is_signed=True))
    assert doubt.startswith("degenerate scale: the largest 0.5 % of the values hold 100%")
    nothing = np.zeros(5)
    (doubt,) = scale_doubts(nothing, display_of(nothing, is_signed=True))
    assert "zero everywhere" in doubt


def test_texts_stay_in_the_picture() -> None:
    attribution = replace(flat_map(), warnings=tuple(f"{n} " + "word " * 40 for n in range(7)))
    figure = overlay_figure(attribution, "a_long_name_" * 20)
    figure.canvas.draw()
    wide, high = figure.bbox.width, figure.bbox.height
    boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text()]
    boxes = [box for box in boxes if box.width]
    boxes.append(figure.legends[0].get_window_extent())
    for box in boxes:
        assert box.x0 >= -1 and box.x1 <= wide + 1
        assert box.y0 >= -1 and box.y1 <= high + 1


def small_target(side: int) -> Figure:
    shape = (40, 40, 40)
    map_ = np.zeros(shape, np.float32)
    map_[5 : 5 + side, 30 : 30 + side, 8 : 8 + side] = 1.0
    return overlay_figure(attribution_of(map_, np.eye(4), map_), "title")


def test_small_targets_are_enlarged_in_an_inset_beside_them() -> None:
    for axis in small_target(3).axes[:3]:
        (inset,) = axis.child_axes
        (frame,) = axis.patches
        x, y = frame.get_x() + frame.get_width() / 2, frame.get_y() + frame.get_height() / 2
        seen = axis.transData.transform((x, y))
        assert not inset.get_window_extent().contains(*seen)
        across = abs(inset.get_xlim()[1] - inset.get_xlim()[0])
        assert across == pytest.approx(8.0)
        assert min(inset.get_xlim()) <= x <= max(inset.get_xlim())
    for axis in small_target(12).axes[:3]:
        assert not axis.child_axes


def test_the_grey_of_the_image_is_that_of_the_intensity_step() -> None:
    image = np.linspace(0.0, 0.5, 6 * 5).reshape(6, 5).astype(np.float32)
    attribution = attribution_of(np.ones((6, 5), np.float32), np.eye(4), image)
    windowed = replace(attribution, volume=replace(attribution.volume, spans=((0.0, 1.0),)))
    shown = overlay_figure(windowed, "title").axes[0].images[0]
    assert shown.get_clim() == (0.0, 1.0)
