"""Tables of a dissection: which concept a unit is named by, and which unit fits a concept best."""

import csv
import math
from pathlib import Path

from esegeta.dissection import UnitConceptPair, UnitFinding
from esegeta.report import write_concepts, write_units


def pair(layer: str, unit: int, concept: str, iou: float) -> UnitConceptPair:
    rest = (0.5, 0.6, 0.3, 0.7, 0.2, 0.01, 0.02)
    return UnitConceptPair(layer, unit, concept, "organ", iou, *rest)


def finding(best: UnitConceptPair, *, named: bool) -> UnitFinding:
    return UnitFinding(best, named, 1.0, 0.01, 0.02, 0, False, -1.0, 2.0)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_unit_that_overlaps_with_nothing_has_no_concept(tmp_path: Path) -> None:
    bests = [pair("a", 0, "liver", 0.4), pair("a", 1, "liver", 0.0), pair("a", 2, "bone", math.nan)]
    write_units(tmp_path / "units.csv", [finding(one, named=one.iou > 0) for one in bests])
    rows = rows_of(tmp_path / "units.csv")
    assert [row["concept"] for row in rows] == ["liver", "", ""]
    assert [row["category"] for row in rows] == ["organ", "", ""]
    assert [row["named"] for row in rows] == ["1", "0", "0"]


def test_the_best_unit_of_each_concept_is_listed_by_layer(tmp_path: Path) -> None:
    ious = {
        ("a", 0, "liver"): 0.4,
        ("a", 1, "liver"): math.nan,
        ("a", 0, "bone"): math.nan,
        ("a", 1, "bone"): 0.0,
        ("b", 0, "liver"): 0.1,
        ("b", 1, "liver"): 0.3,
        ("b", 0, "bone"): 0.2,
        ("b", 1, "bone"): 0.2,
    }
    pairs = {key: pair(*key, iou) for key, iou in ious.items()}
    units = (("a", 0, "liver"), ("b", 0, "liver"), ("b", 1, "liver"))
    found = [finding(pairs[key], named=True) for key in units]
    write_concepts(
        tmp_path / "concepts.csv",
        found,
        list(pairs.values()),
        {"liver": (7, 0.1), "bone": (3, 0.2)},
    )
    rows = rows_of(tmp_path / "concepts.csv")
    told = [
        (row["concept"], row["layer"], row["best_unit"], row["detectors"], row["voxels"])
        for row in rows
    ]
    assert told == [
        ("liver", "a", "0", "1", "7"),
        ("liver", "b", "1", "2", "7"),
        ("bone", "a", "1", "0", "3"),
        ("bone", "b", "0", "0", "3"),
    ]
    assert [float(row["best_iou"]) for row in rows] == [0.4, 0.3, 0.0, 0.2]
