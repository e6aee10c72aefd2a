"""What `esegeta concepts` prints when it is done."""

from __future__ import annotations

import csv
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from esegeta.cli.help_page import console_for_tables
from esegeta.report import name_in_cell
from esegeta.workflow.one_result import OneResult

MOST_ROWS = 40


def show_tested(tested: OneResult, folder: Path) -> None:
    """Print what each concept does to each target, the significant ones first."""
    with (folder / "tcav.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows.sort(key=lambda row: (row["significant"] != "1", bool(row["refused"])))
    table = Table(
        "concept", "layer", "target", "TCAV", "size", "p (Holm)", box=None, pad_edge=False
    )
    for row in rows[:MOST_ROWS]:
        names = [escape(name_in_cell(row[name])) for name in ("concept", "layer", "target")]
        if row["refused"]:
            table.add_row(*names, "", "", f"refused: {escape(row['refused'])}")
            continue
        size, p = float(row["size"]), float(row["p_holm"])
        mark = " *" if row["significant"] == "1" else ""
        table.add_row(*names, f"{float(row['tcav']):.2f}", f"{size:.3g}", f"{p:.2g}{mark}")
    console_for_tables().print(table)
    if len(rows) > MOST_ROWS:
        print(f"... and {len(rows) - MOST_ROWS} more in tcav.csv")
    held = sum(row["significant"] == "1" for row in rows)
    took = "already finished" if tested.skipped else f"in {tested.seconds:.1f} s"
    print(f"{held} of {len(rows)} hold after Holm (*), {took}; results in {folder}")
