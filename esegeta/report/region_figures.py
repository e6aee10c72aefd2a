"""Figures of a map summed up by region and channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.explain import Attribution, RegionRow
from esegeta.report.style import (
    CHANNEL_COLOURS,
    FINE_DPI,
    MUTED,
    new_figure,
    save_figure,
    style_panel,
)

MOST_REGIONS = 24
"""Most regions drawn for an atlas; those with the smallest share are left to the table."""


def draw_regions(
    path: Path, rows: Sequence[RegionRow], title: str, attribution: Attribution
) -> None:
    """Draw rows of a map as PNG: a line of panels per atlas, a bar per region and channel.

    To the left the share of the map's magnitude, to the right its sum per ml; of pictures, whose
    pixels have no size, the sum.
    """
    quantity, word, per = ("signed_sum", "sum", "")
    if not attribution.volume.source.is_picture:
        quantity, word, per = "per_ml", "sum per ml", " / ml"
    atlases = list(dict.fromkeys(row.atlas for row in rows))
    groups = [_regions_of(rows, atlas) for atlas in atlases]
    heights = [0.55 + _num_bars(rows) * len(group) * 0.16 + 0.12 * len(group) for group in groups]
    figure = new_figure((9.6, sum(heights) + 1.5))
    axes = figure.subplots(len(groups), 2, squeeze=False, height_ratios=heights, sharey="row")
    channels = list(dict.fromkeys(row.channel for row in rows))
    for (left, right), atlas, group in zip(axes, atlases, groups, strict=True):
        _draw_region_bars(left, group, channels, "share")
        _draw_region_bars(right, group, channels, quantity)
        left.set_ylabel(atlas, fontsize=9, fontweight="bold")
        left.set_xlim(0, 1)
        left.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        peak = 1.08 * max((abs(edge) for edge in right.get_xlim()), default=0.0) or 1.0
        right.set_xlim(-peak, peak)
        right.axvline(0, color=MUTED, linewidth=0.8)
        left.invert_yaxis()
    figure.align_ylabels(axes[:, 0])
    axes[0][0].set_title("share of the magnitude", fontsize=9)
    axes[0][1].set_title(word, fontsize=9)
    axes[-1][1].set_xlabel(f"{attribution.unit}{per}\n({attribution.meaning.legend})", fontsize=8)
    if len(channels) > 1:
        figure.legend(
            *axes[0][0].get_legend_handles_labels(),
            title="channel",
            fontsize=8,
            title_fontsize=8,
            loc="outside right upper",
        )
    figure.suptitle(title, fontsize=10)
    save_figure(path, figure, dpi=FINE_DPI)


def _regions_of(rows: Sequence[RegionRow], atlas: str) -> dict[str, dict[str, RegionRow]]:
    """Return an atlas's rows by region and channel, dropping the smallest of too many regions."""
    found: dict[str, dict[str, RegionRow]] = {}
    for row in rows:
        if row.atlas == atlas:
            found.setdefault(row.region, {})[row.channel] = row
    size = {name: sum(row.share for row in parts.values()) for name, parts in found.items()}
    kept = sorted(found, key=lambda name: size[name], reverse=True)[:MOST_REGIONS]
    return {name: parts for name, parts in found.items() if name in kept}


def _num_bars(rows: Sequence[RegionRow]) -> int:
    return len({row.channel for row in rows})


def _draw_region_bars(
    axis: Any, group: dict[str, dict[str, RegionRow]], channels: Sequence[str], quantity: str
) -> None:
    places = np.arange(len(group), dtype=float)
    thick = 0.8 / len(channels)
    for number, channel in enumerate(channels):
        values = [getattr(parts[channel], quantity) for parts in group.values()]
        offset = (number - (len(channels) - 1) / 2) * thick
        colour = CHANNEL_COLOURS[number % len(CHANNEL_COLOURS)]
        # An empty region has no value per ml, and no bar.
        widths = np.nan_to_num(np.asarray(values, dtype=float))
        axis.barh(places + offset, widths, height=thick, color=colour, label=channel)
    axis.set_yticks(places, list(group), fontsize=8)
    style_panel(axis, "x")
