"""What `esegeta similarity` and `validate` print of a comparison of layers and networks."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from esegeta.cli.help_page import console_for_tables
from esegeta.workflow.one_result import OneResult
from esegeta.workflow.similarity import Comparison

MOST_ROWS = 12


def show_comparison(comparison: Comparison) -> None:
    """Print what a comparison would do."""
    keys = comparison.keys
    print(f"{comparison.basis.config.document.path}: valid for a comparison of layers")
    print(f"  cases: {', '.join(case.name for case in comparison.cases)}")
    for network in comparison.networks:
        layers = ", ".join(f"{layer.name} ({layer.num_units})" for layer in network.layers)
        print(f"  network {network.name}: {layers}")
    print(f"  methods: {', '.join(keys.methods)}; {keys.samples} positions of all cases")
    print(f"  results go to {comparison.folder}")
    for note in comparison.notes:
        print(f"  note: {note}")


def show_compared(compared: OneResult, folder: Path) -> None:
    """Print how alike the first network's layers are to one another, by the first measure."""
    record = compared.record
    method, values = next(iter(record["tables"].items()))
    first = record["networks"][0]
    names = list(first["layers"])
    shown = names[:MOST_ROWS]
    table = Table(method, *(str(number + 1) for number in range(len(shown))), box=None)
    for row, name in enumerate(shown):
        cells = ["" if value is None else f"{value:.2f}" for value in values[row][: len(shown)]]
        table.add_row(escape(f"{row + 1} {name}"), *cells)
    console_for_tables().print(table)
    if len(names) > len(shown):
        print(f"... and {len(names) - len(shown)} more layers")
    took = "already finished" if compared.skipped else f"in {compared.seconds:.1f} s"
    count = len(record["networks"])
    print(f"{count} networks, {len(record['layers'])} layers, {took}; results in {folder}")
