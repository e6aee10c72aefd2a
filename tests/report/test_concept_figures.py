"""Bars of concepts and effects of units: what is shown, what is said, in which colours."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from esegeta.dissection import Effect
from esegeta.report import draw_concepts, draw_effects
from esegeta.report.concept_figures import UNKNOWN_COLOUR, concepts_figure, effects_figure
from esegeta.report.style import GROUP_COLOURS
from tests.report.test_unit_figures import colours

LONG = "a_run_whose_name_is_longer_than_a_figure_of_few_concepts_is_wide_and_goes_on"


def heading(figure: Figure) -> str:
    assert figure._suptitle is not None  # type: ignore[attr-defined]
    return str(figure._suptitle.get_text())  # type: ignore[attr-defined]


def layers(figure: Figure) -> list[str]:
    titles = [axis.get_title(loc="left").replace("\n", "") for axis in figure.axes]
    return [title.partition(":")[0] for title in titles if title]


def test_bars_grow_with_units(tmp_path: Path) -> None:
    blues = []
    for count in (1, 4):
        counts = {"l": {"a": count, "b": 0}, "m": {"a": 4, "b": 0}}
        draw_concepts(tmp_path / "c.png", counts, {"a": "x", "b": "x"}, "t")
        blues.append(colours(tmp_path / "c.png", GROUP_COLOURS[0]))
    assert blues[1] > 1.3 * blues[0]


def test_layers_without_a_named_unit_are_counted_instead() -> None:
    counts = {f"layer{k}": {"a": int(k in (3, 5)), "b": 2 * int(k == 5)} for k in range(39)}
    figure = concepts_figure(counts, {"a": "x", "b": "x"}, "t")
    assert layers(figure) == ["layer3", "layer5"]
    assert figure.axes[1].get_title(loc="left") == "layer5: 3 named, 2 unique"
    assert "37 layers without a named unit" in heading(figure)
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["a", "b"]


def test_panels_that_do_not_fill_the_last_row_are_empty() -> None:
    counts = {f"layer{number}": {"a": 1} for number in range(13)}
    axes = concepts_figure(counts, {"a": "x"}, "t").axes
    assert len(axes) > 13
    assert sum(axis.axison for axis in axes) == 13
    assert all(axis.get_title(loc="left") for axis in axes if axis.axison)


def test_concepts_without_a_unit_have_no_column_and_are_listed() -> None:
    counts = {"one": {"a": 2, "b": 0, "c": 1}, "two": {"a": 0, "b": 0, "c": 3}}
    figure = concepts_figure(counts, {"a": "x", "b": "y", "c": "x"}, "t")
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["a", "c"]
    assert [bar.get_height() for bar in figure.axes[1].patches] == [0, 3]
    assert figure.get_suptitle() == "t\nno unit is named for b"


def test_a_figure_without_any_named_unit_says_so() -> None:
    counts = {f"layer{k}": {"a": 0, "b": 0} for k in range(40)}
    figure = concepts_figure(counts, {"a": "x", "b": "y"}, "t")
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["no unit is named"]
    assert "40 layers without a named unit" in heading(figure)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]


@pytest.mark.slow
def test_many_layers_stand_side_by_side() -> None:
    counts = {f"layer{k}": {"a": 1, "b": 0} for k in range(40)}
    figure = concepts_figure(counts, {"a": "x", "b": "x"}, "t")
    width, height = figure.get_size_inches()
    assert 0.5 < width / height < 2
    assert sorted(layers(figure)) == sorted(counts)
    assert "without" not in heading(figure)
    # The lowest layer of each column carries the names of the concepts.
    labelled = [axis for axis in figure.axes if axis.axison and axis.get_xticklabels()]
    assert len(labelled) == len({axis.get_position().x0 for axis in figure.axes})


@pytest.mark.parametrize(("categories", "legend"), [(("x", "y", "x"), 2), (("x", "x", "x"), 0)])
def test_bars_have_the_colour_of_their_category(categories: tuple[str, ...], legend: int) -> None:
    counts = {"l": {"a": 1, "b": 2, "c": 3}}
    by_concept = dict(zip("abc", categories, strict=True))
    figure = concepts_figure(counts, by_concept, "t")
    drawn = [to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches]
    assert drawn == [GROUP_COLOURS["xy".index(category)] for category in categories]
    shown = [text.get_text() for box in figure.legends for text in box.get_texts()]
    assert shown == ["x", "y"][:legend]


def test_every_category_looks_different() -> None:
    names = [f"c{k}" for k in range(3 * len(GROUP_COLOURS))]
    figure = concepts_figure({"l": dict.fromkeys(names, 1)}, {name: name for name in names}, "t")
    looks = {(to_hex(bar.get_facecolor()), bar.get_hatch()) for bar in figure.axes[0].patches}
    assert len(looks) == len(names)


def test_a_long_name_stays_in_the_picture(tmp_path: Path) -> None:
    figure = concepts_figure({"l": {"a": 1}}, {"a": "x"}, LONG)
    figure.savefig(tmp_path / "c.png", dpi=50)
    drawn = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
    assert drawn.x0 >= 0
    assert drawn.x1 <= figure.bbox.x1
    assert heading(figure).replace("\n", "") == LONG


GOOD = Effect(0.9, -0.5, -0.1, -0.4, -0.5, -0.3, 0.1, 1)
NO_CASE = Effect(*[math.nan] * 7, 0)
NO_DRAW = Effect(0.9, -0.5, *[math.nan] * 5, 1)


def test_effects_without_a_number_show_the_reason() -> None:
    figure = effects_figure([("u", "a", GOOD), ("u", "b", NO_CASE), ("u", "c", NO_DRAW)], "t")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["-0.40\n[-0.50, -0.30]", "no case", "no random\nunits"]


def test_effects_without_a_number_are_grey(tmp_path: Path) -> None:
    draw_effects(tmp_path / "e.png", [("u", "a", GOOD), ("u", "b", NO_CASE)], "t")
    grey = (abs(imread(tmp_path / "e.png")[..., :3] - 0xDD / 255).max(axis=2) < 0.01).mean()
    assert UNKNOWN_COLOUR == "#dddddd"
    assert grey > 0.1
    draw_effects(tmp_path / "n.png", [("u", "b", NO_CASE)], "t")
    assert imread(tmp_path / "n.png").std() > 0.05
