"""How methods are listed and explained: from their docstrings, traits and fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from esegeta.errors import ConfigError, suggest
from esegeta.explain import EXPLAINERS, Explainer

FAMILIES = {
    "gradient": "what the target's gradient by the input says, at the image or along a path to it",
    "backprop": "rules of their own for going back through layers, in place of the gradient's",
    "layer": "what a layer inside the network holds, weighted by what the target makes of it",
    "perturbation": "what becomes of the target when parts of the image are replaced",
    "null": "maps that know nothing of the network; what does not beat them says nothing",
}
"""Families in the order of the list, with what their methods have in common."""

LEGEND = (
    "F: a forward, B: a backward pass over the windows that the target touches",
    "`esegeta methods NAME` shows a method's parameters, formula and source",
)
PLAIN_WIDTH = 140
INDENT = 4


@dataclass(frozen=True)
class Help:
    """A method's docstring, taken apart.

    Args:
        summary: its first line.
        body: formula and text below it; the formula is indented.
        parameters: the meaning of each.
        source: where the method comes from.
    """

    summary: str
    body: str
    parameters: dict[str, str]
    source: str


def parse_help(kind: type[Any]) -> Help:
    """Take the docstring of a method apart."""
    text = inspect.getdoc(kind) or ""
    summary, _, rest = text.partition("\n")
    before, _, after = f"\n{rest}".partition("\nArgs:\n")
    block = re.match(rf"(?:(?: {{{INDENT}}}.*)?\n)*(?: {{{INDENT}}}.*)?", after)
    entries = block[0] if block else ""
    body, _, source = f"{before}\n{after[len(entries) :]}".partition("\nSource: ")
    return Help(summary.strip(), body.strip("\n"), _parameters(entries), _one_line(source))


def show_methods() -> None:
    """Print every method by family: cost, needs, and its first line."""
    console = _console()
    known = [kind.traits.family for kind in EXPLAINERS.values()]
    for family in dict.fromkeys([*FAMILIES, *known]):
        kinds = {name: kind for name, kind in EXPLAINERS.items() if kind.traits.family == family}
        if not kinds:
            continue
        console.print(f"[bold]{family}[/]: {FAMILIES.get(family, '')}")
        table = Table("name", "cost", "needs", "what it is", box=None, pad_edge=False)
        for name, kind in kinds.items():
            summary = escape(parse_help(kind).summary)
            table.add_row(f"[cyan]{name}[/]", escape(kind().cost), needs_of(kind), summary)
        console.print(Padding(table, (0, 0, 1, 2)))
    for line in LEGEND:
        console.print(line, highlight=False)


def show_method(name: str) -> None:
    """Print what a method is, its formula, parameters, cost, needs and source.

    Raises:
        ConfigError: there is no such method.
    """
    if name not in EXPLAINERS:
        raise ConfigError(f'no method "{name}"', hint=suggest(name, EXPLAINERS))
    kind = EXPLAINERS[name]
    console = _console()
    if console.is_terminal:
        _show_rich(console, name, kind)
    else:
        print(plain_help(name, kind))


def plain_help(name: str, kind: type[Explainer]) -> str:
    """Return the help of a method as plain text."""
    found = parse_help(kind)
    lines = [f"{name} ({kind.traits.family})", "", found.summary, "", found.body, "", "Parameters:"]
    for item in dataclasses.fields(kind):
        if not item.repr:
            continue
        lines.append(f"  {item.name}: {item.type} = {default_of(item)}")
        lines.append(f"      {found.parameters.get(item.name, '')}")
    if lines[-1] == "Parameters:":
        lines.append("  none")
    facts = {**_facts(kind), "Source": found.source}
    return "\n".join([*lines, "", *(f"{key}: {text}" for key, text in facts.items())])


def _show_rich(console: Console, name: str, kind: type[Explainer]) -> None:
    found = parse_help(kind)
    console.print(f"[bold cyan]{name}[/] [dim]({kind.traits.family})[/]")
    console.print(Padding(escape(found.summary), (1, 0)), highlight=False)
    for line in found.body.splitlines():
        style = "green" if line.startswith(" " * INDENT) else None
        console.print(escape(line), style=style, highlight=False)
    table = Table("parameter", "default", "meaning", box=None, pad_edge=False)
    for item in dataclasses.fields(kind):
        if item.repr:
            meaning = escape(found.parameters.get(item.name, ""))
            kind_ = f"\n[dim]{escape(str(item.type))}[/]"
            table.add_row(f"[cyan]{item.name}[/]{kind_}", escape(default_of(item)), meaning)
    if table.row_count:
        console.print(Padding(table, (1, 0, 0, 0)))
    console.print()
    for key, text in {**_facts(kind), "Source": found.source}.items():
        console.print(f"[bold]{key}:[/] {escape(text)}", highlight=False)


def _facts(kind: type[Explainer]) -> dict[str, str]:
    return {
        "Cost": kind().cost,
        "Needs": needs_of(kind) or "nothing",
        "Unit": kind().unit_for("target"),
    }


def needs_of(kind: type[Explainer]) -> str:
    """Return what a method needs beside the network's output, in words."""
    traits = kind.traits
    needs = {"hooks": traits.needs_hooks, "a layer": traits.needs_layer, "seed": traits.stochastic}
    return ", ".join(name for name, needed in needs.items() if needed)


def default_of(item: dataclasses.Field[Any]) -> str:
    """Return the default of a parameter as people write it."""
    value = item.default
    if item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
    if value is dataclasses.MISSING:
        return "(must be given)"
    return value.name if isinstance(value, Explainer) else repr(value)


def _parameters(block: str) -> dict[str, str]:
    """Return name and meaning of each entry of an `Args:` block; deeper lines go on with it."""
    found: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        entry = re.match(rf" {{{INDENT}}}(\w+): ?(.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
