"""A report's folder is that of the report alone."""

import json
from pathlib import Path

import pytest

from esegeta.errors import OutputError
from esegeta.report.page.sinks import MANIFEST, FolderSink, PageSink, Sink
from tests.temporaries import dead_temporary


def test_leftovers_of_a_killed_report_are_removed(tmp_path: Path) -> None:
    left = dead_temporary(tmp_path / "report" / "volumes")
    sink = FolderSink(tmp_path / "report")
    assert not left.exists()
    assert sink.close("<html></html>").is_file()


@pytest.mark.parametrize("kind", [FolderSink, PageSink])
def test_a_missing_picture_has_no_source(kind: type[Sink], tmp_path: Path) -> None:
    sink = kind(tmp_path / "report")
    assert sink.add_picture(tmp_path / "gone.png") == ""
    (tmp_path / "there.png").write_bytes(b"png")
    assert sink.add_picture(tmp_path / "there.png") != ""


@pytest.mark.parametrize("kind", [FolderSink, PageSink])
def test_a_file_in_place_of_the_report_folder_is_refused(kind: type[Sink], tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(OutputError, match="report: is a file; name a folder with -o"):
        kind(tmp_path / "report")
    assert (tmp_path / "report").read_text() == "mine"


def test_only_parts_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "report"
    own, kept = root / "pictures" / "p7.png", (root / "notes.md", tmp_path / "mine.png")
    own.parent.mkdir(parents=True)
    for path in (own, *kept):
        path.write_text("x")
    names = ["pictures/p7.png", "notes.md", "../mine.png", "index.html"]
    (root / MANIFEST).write_text(json.dumps({"files": names}))
    page = FolderSink(root).close("<html></html>")
    assert page.is_file() and not own.parent.exists()
    assert all(path.read_text() == "x" for path in kept)
