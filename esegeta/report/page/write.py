"""From a report's content to its page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from esegeta.report.page.charts import chart_svg, dash_of, num_of, series_names, short_text
from esegeta.report.page.entries import MapEntry, PageContent
from esegeta.report.page.sinks import Sink, json_text

ARROWS = {"lower": "↓", "higher": "↑", "none": ""}


def write_page(content: PageContent, sink: Sink) -> Path:
    """Write a report whose volumes and pictures the sink already has; return its page."""
    frame = sink.frame()
    template = page_environment().get_template("page.html.j2")
    names = series_names(content.charts)
    page = template.render(
        content=content,
        frame=frame,
        data=json_text(_data_of(content)),
        bars=_bars_of(content.maps),
        series=names,
        draw=_drawn(names),
        dash=dash_of,
    )
    return sink.close(page)


def page_environment() -> jinja2.Environment:
    """Return the renderer of the page templates; all values that they are given are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("esegeta.report.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = num_of
    environment.filters["short"] = short_text
    environment.filters["arrow"] = ARROWS.__getitem__
    return environment


def _drawn(names: Sequence[str]) -> Callable[[Any], str]:
    def draw(chart: Any) -> str:
        return chart_svg(chart, names)

    return draw


def _data_of(content: PageContent) -> dict[str, Any]:
    """Return what the page's script needs: cases and maps, without what only the page shows."""
    maps = []
    for entry in content.maps:
        row = asdict(entry)
        for key in ("bars", "bar_unit", "picture"):
            row.pop(key)
        maps.append(row)
    return {"cases": [asdict(case) for case in content.cases], "maps": maps}


def _bars_of(maps: Sequence[MapEntry]) -> list[dict[str, Any]]:
    """Return the bars of each map by atlas and region, with their widths in percent."""
    found = []
    for entry in maps:
        if not entry.bars:
            continue
        values = [abs(bar.value) for bar in entry.bars if bar.value is not None]
        peak = max(values, default=0.0) or 1.0
        channels = list(dict.fromkeys(bar.channel for bar in entry.bars))
        atlases: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for bar in entry.bars:
            rows = atlases.setdefault(bar.atlas, {}).setdefault(bar.region, [])
            share = bar.share if math.isfinite(bar.share) else 0.0
            value = bar.value or 0.0
            rows.append(
                {
                    "channel": bar.channel,
                    "place": channels.index(bar.channel) % 6,
                    "share": bar.share,
                    "share_width": round(100 * share, 2),
                    "value": bar.value,
                    "value_width": round(50 * abs(value) / peak, 2),
                    "negative": value < 0,
                }
            )
        found.append({"map": entry, "channels": channels, "atlases": atlases})
    return found
