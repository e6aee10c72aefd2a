"""What a command wrote: a folder, its tables and maps, and what failed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esegeta.errors import OutputError, suggest
from esegeta.plain_json import parse_json
from esegeta.report import name_in_cell
from esegeta.results_folder import COMPARISON_RECORD, PARTS, RUN_RECORD, SCORES_TABLE

RECORDS = (RUN_RECORD, COMPARISON_RECORD, *PARTS.values())
"""Names of the commands' records; the first one present is the folder's own."""


@dataclass(frozen=True)
class Results:
    """What a command wrote.

    Args:
        folder: folder that holds all of it.
        failures: messages of what failed, as `task: message`; empty where all is well.
        warnings: warnings to readers of the results, as `task: warning`.
    """

    folder: Path
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: where it lies, how much, and what failed."""
        ends = [f"{len(self.maps)} maps", f"{len(self.files)} files"]
        ends += [f"{len(self.failures)} failures"] if self.failures else []
        ends += [f"{len(self.warnings)} warnings"] if self.warnings else []
        return f"<Results {self.folder}: {', '.join(ends)}>"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, in order; hidden ones, which are the command's own, left out."""
        below = (path.relative_to(self.folder) for path in self.folder.rglob("*"))
        seen = (path for path in below if not any(part.startswith(".") for part in path.parts))
        return tuple(sorted(self.folder / path for path in seen if (self.folder / path).is_file()))

    @property
    def maps(self) -> tuple[Path, ...]:
        """The maps, as NIfTI."""
        return tuple(path for path in self.files if path.name.endswith("_attrmap.nii.gz"))

    @property
    def record(self) -> dict[str, Any]:
        """What was done, with what: run.json, or what the command calls its record."""
        path = next((self.folder / name for name in RECORDS if (self.folder / name).exists()), None)
        if path is None:
            return {}
        found: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        return found

    @property
    def scores(self) -> list[dict[str, str]]:
        """The rows of scores.csv, by column; none where nothing was scored."""
        return self.table("scores") if (self.folder / SCORES_TABLE).exists() else []

    def table(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a table by column, such as of `scores`, `regions` or `units`.

        Args:
            name: name of the CSV file, wherever in the folder it lies.

        Raises:
            OutputError: the table does not exist; the nearest name is given.
        """
        tables = {path.stem: path for path in reversed(self.files) if path.suffix == ".csv"}
        if name not in tables:
            raise OutputError(
                f'{self.folder}: no table "{name}"', hint=suggest(name, sorted(tables))
            )
        with tables[name].open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        return [dict(zip(header, map(name_in_cell, row), strict=False)) for row in rows]
