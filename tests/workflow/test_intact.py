"""A map that was cut is made again; tables keep the rows of what is not redone yet."""

import csv
import io
from pathlib import Path

import pytest

from esegeta.config import load_config
from esegeta.workflow import build_experiment, run_experiment
from tests.experiments import Lab, pointwise_lab, quick, unet_lab

__all__ = ["quick"]


def small(folder: Path) -> Lab:
    return pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0])


@pytest.mark.slow
def test_a_cut_map_is_made_again(quick: None, tmp_path: Path) -> None:
    lab = small(tmp_path)
    assert lab.run().exit_code == 0
    path = lab.file("a", "liver", "saliency")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert lab.run().exit_code == 0
    assert path.read_bytes() == whole
    assert set(lab.statuses().values()) == {"done"}
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"skipped"}


@pytest.mark.slow
def test_verify_finds_a_change_that_kept_size_and_time(quick: None, tmp_path: Path) -> None:
    import os

    lab = small(tmp_path)
    assert lab.run().exit_code == 0
    path = lab.file("a", "liver", "saliency")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + b"other")
    os.utime(path, (1, 1))
    assert lab.run().exit_code == 0
    assert path.read_bytes() != whole
    assert lab.run("--verify").exit_code == 0
    assert path.read_bytes() == whole


@pytest.mark.slow
def test_tables_never_shrink(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = unet_lab(tmp_path, cases=2)
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    assert lab.run().exit_code == 0
    table = lab.root / "scores.csv"
    whole = sorted(table.read_text().splitlines())
    seen: list[list[str]] = []

    class Watching:
        def __getattr__(self, name: str) -> object:
            return lambda *given, **more: seen.append(sorted(table.read_text().splitlines()))

    monkeypatch.setattr("esegeta.workflow.journal.INTERVAL_S", 0.0)
    monkeypatch.setattr("esegeta.workflow.journal.SHARE", 1e9)
    run_experiment(build_experiment(load_config(lab.config)), Watching())
    assert seen
    assert all(lines == whole for lines in seen)


def test_names_that_spreadsheets_would_run_are_escaped_by_an_apostrophe(tmp_path: Path) -> None:
    from esegeta.report.csv_tables import ScoreRow, read_scores, write_scores

    names = ("=1+1", "+x", "-x", "@x", "'quoted", "plain")
    rows = [ScoreRow(name, name, name, "s", -1.5, "lower") for name in names]
    write_scores(tmp_path, rows)
    cells = list(csv.reader(io.StringIO((tmp_path / "scores.csv").read_text())))[1:]
    assert not any(cell.startswith(("=", "+", "@")) for row in cells for cell in row)
    assert [row[0][0] for row in cells] == ["'", "'", "'", "'", "'", "p"]
    assert cells[0][4] == "-1.5"
    assert read_scores(tmp_path) == rows
