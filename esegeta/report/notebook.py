"""A map as notebooks show it: its picture, and its facts in a table."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape

from matplotlib.figure import Figure

from esegeta.explain import Attribution
from esegeta.report.overlay import overlay_figure
from esegeta.report.style import png_of

DPI = 90


def figure_of(attribution: Attribution, title: str | None = None) -> Figure:
    """Return the picture of a map.

    Args:
        attribution: the map.
        title: title of the picture; case and method by default.
    """
    usual = f"{attribution.volume.name}: {attribution.method}"
    return overlay_figure(attribution, usual if title is None else title)


def html_of(attribution: Attribution) -> str:
    """Return picture, facts and warnings of a map as HTML, without any script."""
    picture = base64.b64encode(png_of(figure_of(attribution), dpi=DPI)).decode("ascii")
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(key)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for key, value in facts_of(attribution)
    )
    return (
        f"<img alt='{escape(repr(attribution), quote=True)}' style='max-width:100%' "
        f"src='data:image/png;base64,{picture}'><table>{rows}</table>"
    )


def facts_of(attribution: Attribution) -> Iterator[tuple[str, str]]:
    """Yield what a reader of a map must know, by name."""
    facts = attribution.facts
    yield "method", attribution.method
    parameters = ", ".join(f"{key}: {value}" for key, value in attribution.parameters.items())
    if parameters:
        yield "parameters", parameters
    yield "target", f"{attribution.target.description} of {attribution.volume.name}"
    yield "unit", attribution.unit
    yield "meaning", attribution.meaning.sign
    yield "sum", f"{float(attribution.data.double().sum()):.6g}"
    if facts.completeness_relative is not None:
        yield "off completeness", f"{facts.completeness_relative:.2%} of the target's change"
    yield "windows", f"{facts.active_windows} of {facts.num_windows} touch the target"
    yield "time", f"{facts.seconds:.2f} s"
    for warning in attribution.warnings:
        yield "warning", warning
