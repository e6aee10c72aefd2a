"""How scores are listed and explained: from their docstrings, qualities and fields."""

from __future__ import annotations

from rich.padding import Padding
from rich.table import Table

from esegeta.cli.help_page import console_for_tables, parse_help, show_page
from esegeta.errors import ConfigError, suggest
from esegeta.score import SCORES, Quality

FAMILIES = {
    "faithfulness": "does the map say what the network uses?",
    "robustness": "does the map stay when the image hardly changes?",
    "localisation": "does the map lie where the structure is, and how far around it?",
    "complexity": "how much is there to look at?",
    "sanity": "is the map about this model and this label at all?",
}
"""Families in the order of the list, with the question that their scores answer."""


def show_scores() -> None:
    """Print every score by family, with the range and better direction of its figures."""
    console = console_for_tables()
    families = dict.fromkeys([*FAMILIES, *(kind.family for kind in SCORES.values())])
    for family in families:
        kinds = {name: kind for name, kind in SCORES.items() if kind.family == family}
        if not kinds:
            continue
        console.print(f"[bold]{family}[/]: {FAMILIES.get(family, '')}")
        table = Table("score", "value", "range", "better", "what it is", box=None, pad_edge=False)
        for name, kind in kinds.items():
            for place, quality in enumerate(kind.qualities):
                first = (f"[cyan]{name}[/]", parse_help(kind).summary) if place == 0 else ("", "")
                table.add_row(first[0], quality.name, range_of(quality), quality.better, first[1])
        console.print(Padding(table, (0, 0, 1, 2)))
    console.print("`esegeta scores NAME` shows a score's parameters, formula and source")


def show_score(name: str) -> None:
    """Print what a score is, its formula, parameters, ranges and source.

    Raises:
        ConfigError: there is no such score.
    """
    if name not in SCORES:
        raise ConfigError(f'no score "{name}"', hint=suggest(name, SCORES))
    kind = SCORES[name]
    figures = "; ".join(
        f"{quality.name} in {range_of(quality)}, better: {quality.better}"
        for quality in kind.qualities
    )
    show_page(name, kind.family, kind, {"Figures": figures})


def range_of(quality: Quality) -> str:
    """Return the range of a figure in words."""
    return f"{quality.low:g} .. {quality.high:g}"
