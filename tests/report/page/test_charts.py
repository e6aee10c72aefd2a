"""Charts draw each value where its axes say, and leave out what is undefined."""

from __future__ import annotations

import math
import re

import pytest

from esegeta.report.page import Chart, ChartLine
from esegeta.report.page.charts import chart_svg, num_of, short_text


def chart(*lines: ChartLine, **more: object) -> Chart:
    return Chart("c", "liver", "deletion", "removed [%]", "score", lines, **more)  # type: ignore[arg-type]


def points(svg: str, name: str) -> list[tuple[float, float]]:
    found = re.search(rf'data-series="{name}" points="([^"]*)"', svg)
    assert found
    return [tuple(map(float, pair.split(","))) for pair in found[1].split()]  # type: ignore[misc]


def test_points_are_drawn_at_their_values_on_the_axes() -> None:
    svg = str(
        chart_svg(
            chart(ChartLine("a", (0, 50, 100), (0, 1, 4)), ChartLine("b", (0, 100), (2, 2))), "ab"
        )
    )
    ticks = re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="middle">([\d.]+)<', svg)
    across = {float(text): float(x) for x, text in ticks}
    levels = re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', svg)
    down = {float(text): float(y) - 4 for y, text in levels}
    a, b = points(svg, "a"), points(svg, "b")
    assert [x for x, _ in a] == pytest.approx(
        [across[0], (across[0] + across[100]) / 2, across[100]]
    )
    assert [y for _, y in a] == pytest.approx([down[0], down[1], down[4]], abs=0.11)
    assert [y for _, y in b] == pytest.approx([down[2]] * 2, abs=0.11)


def test_undefined_values_are_left_out() -> None:
    svg = str(chart_svg(chart(ChartLine("a", (0, 1, 2), (1, math.nan, 3))), ["a"]))
    assert len(points(svg, "a")) == 2
    assert "undefined everywhere" in chart_svg(chart(ChartLine("a", (0,), (math.nan,))), ["a"])


def test_names_are_escaped() -> None:
    svg = str(chart_svg(chart(ChartLine('<b>"&', (0, 1), (0, 1))), ['<b>"&']))
    assert "<b>" not in svg
    assert "&lt;b&gt;&#34;&amp;" in svg


def test_a_method_has_one_colour_in_all_charts() -> None:
    names = [f"m{number}" for number in range(8)]
    svg = str(
        chart_svg(chart(ChartLine("m7", (0, 1), (0, 1)), ChartLine("m1", (0, 1), (1, 0))), names)
    )
    assert 'class="line c1 d1" data-series="m7"' in svg
    assert 'class="line c1 d0" data-series="m1"' in svg


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.123456, "0.1235"),
        (-250.0, "-250"),
        (38352.7, "38350"),
        (99999.0, "100000"),
        (23001515.5, "2.30·10⁷"),
        (-1.5e-7, "-1.50·10⁻⁷"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert num_of(value) == text


def test_only_fractions_are_shortened() -> None:
    texts = ("123456789", "-3", "0.123456", "liver", "", "nan")
    assert [short_text(text) for text in texts] == ["123456789", "-3", "0.1235", "liver", "", "–"]


def test_tick_names_are_shortened_to_their_ends() -> None:
    line = ChartLine("a", (0, 1, 2), (1, 2, 3))
    names = ("first", "model.1.submodule.conv", "a<b")
    svg = str(chart_svg(chart(line, ticks=names), ["a"]))
    found = re.findall(
        r'translate\(([\d.]+) [\d.]+\) rotate\(-50\)"[^>]*>([^<]*)<title>([^<]*)<', svg
    )
    assert [(short, whole) for _, short, whole in found] == [
        ("first", "first"),
        (f"…{names[1][-13:]}", names[1]),
        ("a&lt;b", "a&lt;b"),
    ]
    assert [float(x) - 4 for x, _, _ in found] == pytest.approx([x for x, _ in points(svg, "a")])
    assert 'text-anchor="middle">2<' not in svg


def test_a_constant_line_lies_in_the_middle() -> None:
    flat = points(str(chart_svg(chart(ChartLine("a", (0, 1), (3, 3))), ["a"])), "a")
    rising = points(str(chart_svg(chart(ChartLine("a", (0, 1), (2, 4))), ["a"])), "a")
    assert flat[0][1] == flat[1][1]
    assert flat[0][1] == pytest.approx((rising[0][1] + rising[1][1]) / 2, abs=0.2)
