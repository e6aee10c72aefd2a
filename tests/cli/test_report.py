"""`esegeta report` on runs that ran, and `report: true` in a config."""

from pathlib import Path

import pytest

from tests.compare.pages.page import Page
from tests.compare.pages.results import FakeResults
from tests.experiments import esegeta, pointwise_lab


@pytest.mark.slow
def test_a_run_ends_with_a_report_where_the_config_asks_for_one(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [2.0]], [0.0, 0.0])
    lab.keys["report"] = True
    done = lab.run()
    assert done.exit_code == 0, done.output
    page = lab.root / "report" / "index.html"
    assert f"report: {page}" in done.output.replace("\n", "")
    data = Page(page).data
    assert len(data["maps"]) == len(lab.keys["methods"]) * len(lab.keys["targets"])
    assert not data["cases"][0]["notes"]
    assert "report/" in (lab.root / ".bidsignore").read_text()


def test_a_run_whose_report_cannot_be_written_keeps_its_maps(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [2.0]], [0.0, 0.0])
    lab.keys["report"] = True
    mine = lab.root / "report" / "index.html"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = lab.run("-q")
    assert done.exit_code == 1
    assert "no report" in done.output and "not written by `esegeta report`" in done.output
    assert list(lab.root.glob("*/*_attrmap.nii.gz"))
    assert mine.read_text() == "mine"


def test_a_run_without_the_key_writes_no_report(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [2.0]], [0.0, 0.0])
    assert lab.run("-q").exit_code == 0
    assert not (lab.root / "report").exists()


@pytest.mark.parametrize("options", [(), ("--single-file",)])
def test_a_finished_run_gets_a_report(tmp_path: Path, options: tuple[str, ...]) -> None:
    root = FakeResults().write(tmp_path)
    done = esegeta("report", str(root), *options)
    assert (done.exit_code, done.output) == (0, f"report: {root / 'report' / 'index.html'}\n")
    assert (root / "report" / "volumes").is_dir() == (not options)


def test_open_opens_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    root = FakeResults().write(tmp_path)
    done = esegeta("report", str(root), "-o", str(tmp_path / "out"), "--open", "-q")
    assert (done.exit_code, done.output) == (0, "")
    assert opened == [(tmp_path / "out/index.html").as_uri()]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    done = esegeta("report", str(tmp_path / "nothing"))
    assert done.exit_code == 2
    assert done.output.startswith("error: ") and "no such folder" in done.output
