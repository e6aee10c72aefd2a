"""Names and colours of labels, in the files that each viewer reads beside a segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from esegeta.model import Labels
from esegeta.report.cells import safe_cell
from esegeta.report.files import PredictionFiles
from esegeta.report.style import LABEL_COLOURS
from esegeta.volume import write_text

BACKGROUND = "#000000"


@dataclass(frozen=True)
class LabelRow:
    """One label of a segmentation.

    Args:
        index: its integer.
        name: its name, as in the config.
        colour: `#rrggbb`.
    """

    index: int
    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue in 0..255."""
        red, green, blue = (int(self.colour[at : at + 2], 16) for at in (1, 3, 5))
        return red, green, blue

    @property
    def is_clear(self) -> bool:
        """Whether it is the background, through which the image is seen."""
        return self.index == 0


def label_rows(labels: Labels, colours: Mapping[str, str]) -> list[LabelRow]:
    """Return the background and every label, each with its colour.

    Args:
        labels: names and integers.
        colours: colours by name, `#rrggbb`; others take Okabe and Ito's in turn, which colour-blind
            readers can distinguish too.
    """
    rows = [LabelRow(0, labels.names.get(0, "background"), BACKGROUND)]
    integers = [integer for integer in sorted(labels.names) if integer != 0]
    for place, integer in enumerate(integers):
        name = labels.names[integer]
        default = LABEL_COLOURS[place % len(LABEL_COLOURS)]
        rows.append(LabelRow(integer, name, colours.get(name, default)))
    return rows


def shown_colours(labels: Labels, colours: Mapping[str, str]) -> dict[str, str]:
    """Return the colour of each label shown, including regions that have no integer of their own.

    Args:
        labels: names and integers.
        colours: see `label_rows`.
    """
    rows = label_rows(labels, colours)
    painted = {row.name: row.colour for row in rows}
    found = {}
    for place, name in enumerate(labels.foreground, start=len(rows) - 1):
        default = LABEL_COLOURS[place % len(LABEL_COLOURS)]
        found[name] = painted.get(name) or colours.get(name, default)
    return found


def write_label_tables(files: PredictionFiles, rows: list[LabelRow]) -> None:
    """Write the tables of a segmentation: BIDS, ITK-SNAP, FSLeyes and 3D Slicer."""
    write_text(files.table, bids_table(rows))
    write_text(files.descriptions, itksnap_table(rows))
    write_text(files.lookup_table, fsleyes_table(rows))
    write_text(files.color_table, slicer_table(rows))


def bids_table(rows: list[LabelRow]) -> str:
    """Return a table with tabs, which spreadsheets open too: index, name, color."""
    lines = [("index", "name", "color")]
    lines += [(str(row.index), safe_cell(row.name), row.colour) for row in rows]
    return "".join("\t".join(line) + "\n" for line in lines)


def itksnap_table(rows: list[LabelRow]) -> str:
    """Return ITK-SNAP's label descriptions: index, R G B, opacity, visible, in 3D, name.

    ITK-SNAP loads them by Segmentation > Import Label Descriptions.
    """
    head = (
        "################################################",
        "# ITK-SnAP Label Description File",
        "# File format:",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "################################################",
    )
    lines = []
    for row in rows:
        red, green, blue = row.rgb
        seen = int(not row.is_clear)
        name = _plain(row.name).replace('"', "'")
        numbers = f"{row.index:5d} {red:5d} {green:4d} {blue:4d} {seen:8d} {seen:2d} {seen:2d}"
        lines.append(f'{numbers}    "{name}"')
    return "\n".join((*head, *lines)) + "\n"


def fsleyes_table(rows: list[LabelRow]) -> str:
    """Return FSLeyes' lookup table: index, red, green and blue in 0..1, name; no background."""
    lines = []
    for row in rows:
        if not row.is_clear:
            parts = " ".join(f"{part / 255:.5f}" for part in row.rgb)
            lines.append(f"{row.index} {parts} {_plain(row.name)}")
    return "\n".join(lines) + "\n"


def slicer_table(rows: list[LabelRow]) -> str:
    """Return 3D Slicer's color table: index, name without blanks, R G B A."""
    lines = ["# Color table file", f"# {len(rows)} values"]
    for row in rows:
        red, green, blue = row.rgb
        name = "_".join(row.name.split())
        lines.append(f"{row.index} {name} {red} {green} {blue} {0 if row.is_clear else 255}")
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    return " ".join(name.split())
