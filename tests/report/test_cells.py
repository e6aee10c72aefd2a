"""Names in cells: none is run by a spreadsheet, and each comes back as it was."""

import csv
from pathlib import Path

import pytest

from esegeta.model import Labels
from esegeta.report.cells import name_in_cell, safe_again, safe_cell
from esegeta.report.csv_tables import write_csv
from esegeta.report.label_tables import bids_table, label_rows

RUN = ("=1+1", "+x", "-x", "@x", "＝1", "'=1", "''@x", "-")
KEPT = ("liver", "'quoted'", "a=b", "1", "")


@pytest.mark.parametrize("name", (*RUN, *KEPT))
def test_an_escaped_name_is_read_back_from_its_cell(name: str) -> None:
    cell = safe_cell(name)
    assert not cell.startswith(tuple("=+-@＝"))
    assert name_in_cell(cell) == name
    assert cell == name or name in RUN
    assert safe_again(cell) == cell


def test_cells_of_any_table_are_escaped_but_numbers_are_not(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("=x", "b"), [("=1", -1.5)], [["=2", "-1.5"], ["'=3", "-inf"]])
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["'=x", "b"], ["'=1", "-1.5"], ["'=2", "-1.5"], ["'=3", "-inf"]]


def test_labels_in_the_table_of_a_prediction() -> None:
    rows = label_rows(Labels.of({1: "=1+cmd", 2: "liver"}, "softmax", 3), {})
    names = [line.split("\t")[1] for line in bids_table(rows).splitlines()]
    assert names == ["name", "background", "'=1+cmd", "liver"]
