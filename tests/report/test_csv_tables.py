"""CSV tables: every value comes back as it was, every fault is named by file and line."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from esegeta.errors import RunError
from esegeta.report import (
    CurveRow,
    ScoreRow,
    read_scores,
    write_csv,
    write_curves,
    write_rows,
    write_scores,
)

HEAD = "case,target,method,score,value,better\n"
GOOD = "a,liver,saliency,infidelity,0.5,lower\n"

ROWS = [
    ScoreRow("a", "liver", "saliency", "infidelity", 0.1 + 0.2, "lower"),
    ScoreRow("a", "liver", "saliency", "tiny", 5e-324, "lower"),
    ScoreRow("a", "liver, left", 'the "best"', "infidelity", -1e300, "higher"),
    ScoreRow("b", "liver", "saliency", "infidelity", None, "lower"),
]

CURVES = (
    CurveRow("a", "t", "m", "deletion", "most first", "share", "R", (0.0, 1.0), (1.0, 0.0)),
    CurveRow("a", "t", "m", "deletion", "least first", "share", "R", (0.0, 1.0), (1.0, 0.5)),
    CurveRow(
        "a",
        "t",
        "m",
        "parameter_randomization",
        "spearman",
        "layer",
        "likeness",
        (0.0, 1.0),
        (0.3, math.nan),
        ("model.1.submodule.2.conv.unit0", "model.0"),
    ),
)


def test_values_are_written_in_full(tmp_path: Path) -> None:
    values = {"a": 0.1 + 0.2, "b": math.nan, "c": None, "d": True, "e": False, "f": 7, "g": "x,y"}
    expected = 'a,b,c,d,e,f,g\n0.30000000000000004,nan,,1,0,7,"x,y"\n'
    write_csv(tmp_path / "one.csv", tuple(values), [tuple(values.values())])
    write_rows(tmp_path / "two.csv", tuple(values), [{**values, "not a column": 1}])
    for name in ("one.csv", "two.csv"):
        assert (tmp_path / name).read_text(encoding="utf-8") == expected


def test_any_csv_reader_finds_the_scores(tmp_path: Path) -> None:
    write_scores(tmp_path, ROWS)
    with (tmp_path / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = [
        ScoreRow(**{**row, "value": None if row["value"] == "nan" else float(row["value"])})
        for row in rows
    ]
    assert found == ROWS


def test_no_scores_are_a_table_without_rows(tmp_path: Path) -> None:
    write_scores(tmp_path, [])
    assert (tmp_path / "scores.csv").read_text() == "case,target,method,score,value,better\n"


def test_written_scores_are_read_back_unchanged(tmp_path: Path) -> None:
    write_scores(tmp_path, ROWS)
    assert read_scores(tmp_path) == ROWS


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    text = (HEAD + GOOD).replace("\n", "\r\n")
    (tmp_path / "scores.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    row = ScoreRow("a", "liver", "saliency", "infidelity", 0.5, "lower")
    assert read_scores(tmp_path) == [row]


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("", 1, "the columns are not case,target,method,score,value,better"),
        ("case,method\n", 1, "the columns are not"),
        (f"{HEAD}{GOOD}a,liver,saliency\n", 3, "has 3 fields instead of 6"),
        (f"{HEAD}{GOOD}\n{GOOD}", 3, "has 0 fields"),
        (
            f"{HEAD}a,b,c,d,much,lower\n",
            2,
            'value "much" is not a number; write nan if it is undefined',
        ),
        (f"{HEAD}a,b,c,d,,lower\n", 2, 'value "" is not a number'),
        (f"{HEAD}{GOOD}a,b,c,d,1,hihger\n", 3, 'better is "hihger"; did you mean "higher"?'),
        (f'{HEAD}{GOOD}a,"b,c,d,1,lower\n', 3, "unexpected end of data"),
        (f"{HEAD}{GOOD}{GOOD}a,b\udcff,c,d,1,lower\n", 4, "is not UTF-8 text"),
    ],
)
def test_faults_are_named_by_line(text: str, line: int, fragment: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError) as caught:
        read_scores(tmp_path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert fragment in str(caught.value)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"scores.csv: cannot be read \(No such file"):
        read_scores(tmp_path)


def test_the_table_has_a_line_for_each_point(tmp_path: Path) -> None:
    write_curves(tmp_path, CURVES)
    with (tmp_path / "curves.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 6
    assert found[3] == {
        "case": "a",
        "target": "t",
        "method": "m",
        "score": "deletion",
        "curve": "least first",
        "x": "1.0",
        "y": "0.5",
        "tick": "",
    }
    assert (found[5]["y"], found[5]["tick"]) == ("nan", "model.0")
    write_curves(tmp_path, ())
    assert not (tmp_path / "curves.csv").exists()
