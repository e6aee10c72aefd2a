"""What `esegeta methods` and `esegeta scores` print."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeVar

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from esegeta.cli.help_page import console_for_tables, parse_help, show_page
from esegeta.errors import ConfigError, suggest
from esegeta.explain import METHODS, Explainer
from esegeta.score import ALL_SCORES, Metric, Score

Listed = TypeVar("Listed", Explainer, Score)

METHOD_FAMILIES = {
    "gradient": "the gradient with respect to the input, at the image or along a path to it",
    "backprop": "the target passed back through the layers by rules other than the gradient",
    "layer": "a layer's activations, most of them weighted by their effect on the target",
    "perturbation": "how the target changes when parts of the image are replaced",
    "captum": "a class of Captum, on the target of the whole windowed prediction",
    "null": "maps that ignore the network; a method that does not beat them shows nothing",
}
"""Families in the order of the list, with what their methods have in common."""

LEGEND = (
    "F: a forward, B: a backward pass, each over the windows that the target touches unless "
    "stated otherwise",
    "`esegeta methods NAME` shows a method's parameters, formula and source",
)


def show_methods() -> None:
    """Print every method by family: cost, needs, and its first line."""
    console = console_for_tables()
    found = _importable(METHODS)
    known = [kind.traits.family for kind in found.values()]
    for family in dict.fromkeys([*METHOD_FAMILIES, *known]):
        kinds = {name: kind for name, kind in found.items() if kind.traits.family == family}
        console.print(f"[bold]{family}[/]: {METHOD_FAMILIES.get(family, '')}")
        table = Table("name", "cost", "needs", "what it is", box=None, pad_edge=False)
        for name, kind in kinds.items():
            summary = escape(parse_help(kind).summary)
            table.add_row(f"[cyan]{name}[/]", escape(str(kind().cost)), needs_of(kind), summary)
        console.print(Padding(table, (0, 0, 1, 2)))
    for line in LEGEND:
        console.print(line, highlight=False)


def _importable(table: Mapping[str, type[Listed]]) -> dict[str, type[Listed]]:
    """Return a table without the classes that cannot be imported; these are reported."""
    found = {}
    for name in table:
        try:
            found[name] = table[name]
        except ConfigError as error:
            print(f"warning: {error}", file=sys.stderr)
    return found


def show_method(name: str) -> None:
    """Print what a method is, its formula, parameters, cost, needs and source.

    Raises:
        ConfigError: the method does not exist.
    """
    if name not in METHODS:
        raise ConfigError(f'no method "{name}"', hint=suggest(name, METHODS))
    kind = METHODS[name]
    show_page(name, kind.traits.family, kind, facts_of(kind))


def facts_of(kind: type[Explainer]) -> dict[str, str]:
    """Return what a method costs and needs, and what a value of its map is, by default."""
    method = kind()
    cost = method.cost
    more = {}
    if cost.is_known and cost.not_linear > cost.forwards:
        more = {"If the target is not linear": f"{cost.not_linear} F"}
    return {
        "Cost": str(cost),
        **more,
        "Needs": needs_of(kind) or "nothing",
        "Unit": method.meaning.unit_for("target"),
        "Meaning": f"{method.meaning.kind.replace('_', ' ')}; {method.meaning.sign}",
    }


def needs_of(kind: type[Explainer]) -> str:
    """Return what a method needs besides the network's output, in words."""
    traits = kind.traits
    needs = {"hooks": traits.needs_hooks, "a layer": traits.needs_layer, "seed": traits.stochastic}
    return ", ".join(name for name, needed in needs.items() if needed)


SCORE_FAMILIES = {
    "faithfulness": "does the map show what the network uses?",
    "robustness": "does the map stay the same when the image hardly changes?",
    "localisation": "does the map lie on the structure, and how far does it spread around it?",
    "complexity": "how concentrated is the map?",
    "sanity": "does the map depend on this model and this label at all?",
}
"""Families in the order of the list, with the question that their scores answer."""


def show_scores() -> None:
    """Print every score by family, with the range and better direction of its figures."""
    console = console_for_tables()
    found = _importable(ALL_SCORES)
    families = dict.fromkeys([*SCORE_FAMILIES, *(kind.family for kind in found.values())])
    for family in families:
        kinds = {name: kind for name, kind in found.items() if kind.family == family}
        console.print(f"[bold]{family}[/]: {SCORE_FAMILIES.get(family, '')}")
        table = Table("score", "value", "range", "better", "what it is", box=None, pad_edge=False)
        for name, kind in kinds.items():
            for place, metric in enumerate(kind.metrics):
                first = (f"[cyan]{name}[/]", parse_help(kind).summary) if place == 0 else ("", "")
                table.add_row(first[0], metric.name, range_of(metric), metric.better, first[1])
        console.print(Padding(table, (0, 0, 1, 2)))
    console.print("`esegeta scores NAME` shows a score's parameters, formula and source")


def show_score(name: str) -> None:
    """Print what a score is, its formula, parameters, ranges and source.

    Raises:
        ConfigError: the score does not exist.
    """
    if name not in ALL_SCORES:
        raise ConfigError(f'no score "{name}"', hint=suggest(name, ALL_SCORES))
    kind = ALL_SCORES[name]
    figures = "; ".join(
        f"{metric.name} in {range_of(metric)}, better: {metric.better}" for metric in kind.metrics
    )
    show_page(name, kind.family, kind, {"Figures": figures})


def range_of(metric: Metric) -> str:
    """Return the range of a figure in words."""
    return f"{metric.low:g} .. {metric.high:g}"
