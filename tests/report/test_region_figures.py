"""Figures of a map summed up by region: bars are the rows, and the axis says what they mean."""

import math
from pathlib import Path

from matplotlib.figure import Figure

from esegeta.explain import RegionRow
from esegeta.report import draw_regions
from esegeta.report.region_figures import MOST_REGIONS
from tests.report.maps import flat_map


def row(atlas: str, region: str, channel: str, share: float, per_ml: float) -> RegionRow:
    return RegionRow(atlas, region, channel, share, 1.0, 1.0, per_ml, 1.0)


def bars_of(figure: Figure) -> dict[tuple[str, str], list[float]]:
    """Return the lengths of the bars of each panel, from the first region down."""
    panels = {}
    left, right = figure.axes[0::2], figure.axes[1::2]
    for one, other in zip(left, right, strict=True):
        for side, axis in (("share", one), ("per_ml", other)):
            panels[one.get_ylabel(), side] = [bar.get_width() for bar in axis.patches]
    return panels


def test_bars_show_the_values_of_the_rows(tmp_path: Path, figures: list[Figure]) -> None:
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


def test_too_many_regions_leave_the_smallest_to_the_table(
    tmp_path: Path, figures: list[Figure]
) -> None:
    shares = [(place * 37 % 100) / 1000 for place in range(60)]
    rows = [row("x", f"r{place}", "all", share, 1.0) for place, share in enumerate(shares)]
    draw_regions(tmp_path / "regions.png", rows, "title", flat_map())
    found = bars_of(figures[0])["x", "share"]
    assert sorted(found, reverse=True) == sorted(shares, reverse=True)[:MOST_REGIONS]


def test_the_axis_label_holds_the_meaning_of_values(tmp_path: Path, figures: list[Figure]) -> None:
    attribution = flat_map()
    draw_regions(tmp_path / "regions.png", [row("x", "r", "all", 1.0, 1.0)], "title", attribution)
    label = figures[0].axes[1].get_xlabel()
    assert label == f"logit / ml\n({attribution.meaning.legend})"
