"""A page of help about a method or a score, made from its docstring and fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from esegeta.explain import Explainer, key_of
from esegeta.score import Score

PLAIN_WIDTH = 140
INDENT = 4


@dataclass(frozen=True)
class Help:
    """A method's docstring, taken apart.

    Args:
        summary: its first line.
        body: formula and text below it; the formula is indented.
        parameters: the meaning of each parameter.
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


def show_page(name: str, family: str, kind: type[Any], facts: Mapping[str, str]) -> None:
    """Print a page about a method or score, in colours on a terminal.

    Args:
        name: its name in configs.
        family: family that it belongs to.
        kind: its class.
        facts: further lines, shown before its source.
    """
    console = console_for_tables()
    if console.is_terminal:
        _show_rich(console, name, family, kind, facts)
    else:
        print(plain_page(name, family, kind, facts))


def plain_page(name: str, family: str, kind: type[Any], facts: Mapping[str, str]) -> str:
    """Return a page as plain text."""
    found = parse_help(kind)
    lines = [f"{name} ({family})", "", found.summary, "", found.body, "", "Parameters:"]
    for item in _given(kind):
        lines.append(f"  {key_of(item)}: {item.type} = {default_of(item)}")
        lines.append(f"      {found.parameters.get(item.name, '')}")
    if lines[-1] == "Parameters:":
        lines.append("  none")
    told = {**facts, "Source": found.source}
    return "\n".join([*lines, "", *(f"{key}: {text}" for key, text in told.items())])


def _show_rich(
    console: Console, name: str, family: str, kind: type[Any], facts: Mapping[str, str]
) -> None:
    found = parse_help(kind)
    console.print(f"[bold cyan]{name}[/] [dim]({family})[/]")
    console.print(Padding(escape(found.summary), (1, 0)), highlight=False)
    for line in found.body.splitlines():
        style = "green" if line.startswith(" " * INDENT) else None
        console.print(escape(line), style=style, highlight=False)
    table = Table("parameter", "default", "meaning", box=None, pad_edge=False)
    for item in _given(kind):
        meaning = escape(found.parameters.get(item.name, ""))
        kind_ = f"\n[dim]{escape(str(item.type))}[/]"
        table.add_row(f"[cyan]{key_of(item)}[/]{kind_}", escape(default_of(item)), meaning)
    if table.row_count:
        console.print(Padding(table, (1, 0, 0, 0)))
    console.print()
    for key, text in {**facts, "Source": found.source}.items():
        console.print(f"[bold]{key}:[/] {escape(text)}", highlight=False)


def _given(kind: type[Any]) -> list[dataclasses.Field[Any]]:
    """Return the fields that are parameters, which a user may give."""
    return [item for item in dataclasses.fields(kind) if item.repr and item.init]


def default_of(item: dataclasses.Field[Any]) -> str:
    """Return the default of a parameter as people write it; no parameter is without one."""
    value = item.default
    if item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
    return value.name if isinstance(value, (Explainer, Score)) else repr(value)


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


def console_for_tables() -> Console:
    """Return a console as wide as the terminal, or wide enough for tables where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
