"""Line charts as SVG, which follow the page's colours in light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from esegeta.report.page.entries import Chart, ChartLine

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 78, 12, 10, 44
BOTTOM_NAMED = 92
NUM_COLOURS, NUM_DASHES = 6, 3
MOST_LETTERS = 14


PlaceOnChart = Callable[[float, float], tuple[float, float]]


def series_names(charts: Sequence[Chart]) -> list[str]:
    """Return the names of all lines, in their order: the place of each decides its colour."""
    return list(dict.fromkeys(line.name for chart in charts for line in chart.lines))


def num_of(value: float | None) -> str:
    """Return a number in four digits, in few letters; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.4g}'):.10g}"  # 38350, not 3.835e+04
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}·10{_raised(int(exponent))}"


def short_text(text: str) -> str:
    """Return a number in few digits, and whole numbers and any other text as they are."""
    if text.lstrip("-").isdigit():
        return text
    try:
        return num_of(float(text))
    except ValueError:
        return text


def _raised(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def chart_svg(chart: Chart, names: Sequence[str]) -> Markup:
    """Return a chart as SVG; lines have the colours of their places among `names`."""
    lines = [
        (line, [(x, y) for x, y in zip(line.x, line.y, strict=True) if _known(x, y)])
        for line in chart.lines
    ]
    points = [point for _, some in lines for point in some]
    if not points:
        return Markup("<p class='none'>undefined everywhere</p>")
    x_low, x_high = _range([x for x, _ in points], pad=0.0)
    y_low, y_high = _range([y for _, y in points], pad=0.04)
    bottom = BOTTOM_NAMED if chart.ticks else BOTTOM
    height = HEIGHT + bottom - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - y) / (y_high - y_low) * (height - TOP - bottom)
        return round(across, 1), round(down, 1)

    parts = [_grid(chart, (x_low, x_high, y_low, y_high), at, height - bottom)]
    for line, some in lines:
        place = names.index(line.name)
        path = " ".join(f"{x},{y}" for x, y in (at(*point) for point in some))
        dash = dash_of(line, place)
        parts.append(
            Markup(
                '<polyline class="line c{} d{}" data-series="{}" points="{}"><title>{}</title>'
            ).format(place % NUM_COLOURS, dash, line.name, path, line.name)
            + Markup("</polyline>")
        )
    words = Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
        (LEFT + WIDTH - RIGHT) / 2, height - 6, chart.x_label
    ) + Markup(
        '<text class="label" transform="translate(12 {}) rotate(-90)" text-anchor="middle">'
        "{}</text>"
    ).format((TOP + height - bottom) / 2, chart.y_label)
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, height, f"{chart.title}: {chart.y_label} over {chart.x_label}"
    )
    return head + Markup("").join(parts) + words + Markup("</svg>")


def dash_of(line: ChartLine, place: int) -> str:
    """Return the dashes of a line: those of its place, or of methods that know nothing."""
    return f"n{place % 2}" if line.dashed else str(place // NUM_COLOURS % NUM_DASHES)


def _grid(chart: Chart, bounds: tuple[float, ...], at: PlaceOnChart, base: float) -> Markup:
    x_low, x_high, y_low, y_high = bounds
    found = Markup("")
    for y in _ticks(y_low, y_high):
        down = at(x_low, y)[1]
        found += Markup(
            '<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
            '<text class="tick" x="{3}" y="{4}" text-anchor="end">{5}</text>'
        ).format(LEFT, WIDTH - RIGHT, down, LEFT - 5, down + 4, num_of(y))
    if chart.ticks:
        xs = sorted({x for line in chart.lines for x in line.x})
        for x, name in zip(xs, chart.ticks, strict=False):
            short = name if len(name) <= MOST_LETTERS else f"…{name[1 - MOST_LETTERS :]}"
            across = at(x, y_low)[0]
            found += Markup(
                '<text class="tick" transform="translate({} {}) rotate(-50)" text-anchor="end">'
                "{}<title>{}</title></text>"
            ).format(across + 4, base + 12, short, escape(name))
        return found
    for x in _ticks(x_low, x_high):
        across = at(x, y_low)[0]
        found += Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            across, base + 15, num_of(x)
        )
    return found


def _known(x: float, y: float) -> bool:
    return math.isfinite(x) and math.isfinite(y)


def _range(values: Sequence[float], *, pad: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return low - 0.5, high + 0.5
    return low - pad * (high - low), high + pad * (high - low)


def _ticks(low: float, high: float) -> list[float]:
    """Return four to eight round numbers within a range."""
    raw = (high - low) / 5
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
