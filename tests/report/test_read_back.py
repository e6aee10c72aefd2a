"""What a run left, read back; every fault with its file and line."""

from pathlib import Path

import pytest

from esegeta.errors import RunError
from esegeta.report import ScoreRow, read_record, read_scores, write_record, write_scores
from tests.report.test_tables import ROWS

HEAD = "case,target,method,score,value,better\n"
GOOD = "a,liver,saliency,infidelity,0.5,lower\n"


def test_scores_come_back_as_they_were(tmp_path: Path) -> None:
    write_scores(tmp_path, ROWS)
    assert read_scores(tmp_path) == ROWS


def test_a_spreadsheets_mark_and_line_ends_do_no_harm(tmp_path: Path) -> None:
    text = (HEAD + GOOD).replace("\n", "\r\n")
    (tmp_path / "scores.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    row = ScoreRow("a", "liver", "saliency", "infidelity", 0.5, "lower")
    assert read_scores(tmp_path) == [row]


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("", 1, "the columns are not case,target,method,score,value,better"),
        ("case,method\n", 1, "the columns are not"),
        (f"{HEAD}{GOOD}a,liver,saliency\n", 3, "has 3 fields in place of 6"),
        (f"{HEAD}{GOOD}\n{GOOD}", 3, "has 0 fields"),
        (f"{HEAD}a,b,c,d,much,lower\n", 2, 'value "much" is no number; nan if undefined'),
        (f"{HEAD}a,b,c,d,,lower\n", 2, 'value "" is no number'),
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


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"scores.csv: cannot be read \(No such file"):
        read_scores(tmp_path)


def test_a_record_comes_back(tmp_path: Path) -> None:
    write_record(tmp_path, {"state": "complete", "units": []})
    assert read_record(tmp_path) == {"state": "complete", "units": []}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "liver").mkdir()
    with pytest.raises(RunError, match='livr: no such folder; did you mean "liver"'):
        read_record(tmp_path / "livr")
    with pytest.raises(RunError, match="no such folder"):
        read_record(tmp_path / "far" / "away")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run \(run.json is not there\); `esegeta run`"):
        read_record(tmp_path)
    (tmp_path / "liver").mkdir()
    write_record(tmp_path / "liver", {})
    with pytest.raises(RunError, match=f"there are runs in it: {tmp_path / 'liver'}"):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_record_that_is_no_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run.json: cannot be read as JSON"):
        read_record(tmp_path)
