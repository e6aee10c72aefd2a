"""The table that the benchmarks print: its lines, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Line:
    """One figure of the table.

    Args:
        row: what is measured.
        figure: time, memory, map, ...
        ours: as text, with its unit.
        other: the contender's.
        ratio: ours / other, or the figure itself where there is no contender.
        must: the largest ratio allowed; None where the figure is only for information.
    """

    row: str
    figure: str
    ours: str
    other: str = ""
    ratio: float | None = None
    must: float | None = None

    @property
    def verdict(self) -> str:
        if self.must is None:
            return ""
        return "missing" if self.ratio is None else "met" if self.ratio <= self.must else "NOT MET"

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        must = "" if self.must is None else f"<= {self.must:g}"
        return (self.row, self.figure, self.ours, self.other, ratio, must, self.verdict)


HEADER = ("what", "figure", "esegeta", "contender", "ratio", "must", "")


def hardware(device: str, threads: int) -> list[str]:
    import captum
    import monai
    import torch

    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in names if line.startswith("model name")]
    load = f", load average {os.getloadavg()[0]:.1f} at the end"
    facts = [
        f"Date: {date.today().isoformat()}",
        f"CPU: {models[0] if models else platform.processor()}, {os.cpu_count()} cores, "
        f"{threads} threads{load}",
        f"torch {torch.__version__}, MONAI {monai.__version__}, captum {captum.__version__}, "
        f"Python {platform.python_version()}",
    ]
    if device.startswith("cuda"):
        facts.append(f"GPU: {torch.cuda.get_device_name(device)}")
    return facts


def to_markdown(lines: list[Line], facts: list[str]) -> str:
    rows = [HEADER, ("---",) * len(HEADER), *(line.cells() for line in lines)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(f"- {fact}" for fact in facts) + "\n\n" + table + "\n"


def show(lines: list[Line], facts: list[str]) -> None:
    table = Table(*HEADER)
    for line in lines:
        style = "red" if line.verdict == "NOT MET" else ""
        table.add_row(*line.cells(), style=style)
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table)
    for fact in facts:
        console.print(fact, markup=False, highlight=False)
