"""What is printed of a dissection: before it, what would be done; after it, what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from esegeta.workflow.dissect import Dissected, Dissection

PLAIN_WIDTH = 140


def show_dissection(dissection: Dissection) -> None:
    """Print what a dissection would do."""
    keys = dissection.keys
    layers = ", ".join(f"{layer.name} ({layer.num_units})" for layer in dissection.layers)
    print(f"{dissection.basis.config.document.path}: valid for a dissection")
    print(f"  cases: {', '.join(case.name for case in dissection.basis.cases)}")
    print(f"  layers (units): {layers}")
    print(f"  concepts: {', '.join(dissection.concepts.names)}")
    print(f"  quantile {keys.quantile:g}; named above IoU {keys.min_iou:g}, q <= {keys.q_value:g}")
    print(f"  results go to {dissection.folder}")
    for note in dissection.basis.notes:
        print(f"  note: {note}")


def show_dissected(dissected: Dissected, folder: Path) -> None:
    """Print the detectors of each layer."""
    table = Table("layer", "units", "named", "unique", "detectors", box=None, pad_edge=False)
    for name, layer in dissected.summary["layers"].items():
        found = ", ".join(_concept(concept, units) for concept, units in layer["detectors"].items())
        numbers = (layer["units"], layer["named_units"], layer["unique_detectors"])
        table.add_row(escape(name), *(str(number) for number in numbers), escape(found) or "none")
    console = Console()
    (console if console.is_terminal else Console(width=PLAIN_WIDTH)).print(table)
    took = "finished before" if dissected.skipped else f"in {dissected.seconds:.1f} s"
    total = dissected.summary["named_units"], dissected.summary["units"]
    print(f"{total[0]} of {total[1]} units named, {took}; results in {folder}")


def _concept(name: str, units: list[Any]) -> str:
    return f"{name} {len(units)}"
