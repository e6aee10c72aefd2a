"""A report's folder is that of the report alone."""

from pathlib import Path

from esegeta.report.page.sinks import FolderSink
from tests.temporaries import dead_temporary


def test_what_a_killed_report_left_is_removed(tmp_path: Path) -> None:
    left = dead_temporary(tmp_path / "report" / "volumes")
    sink = FolderSink(tmp_path / "report")
    assert not left.exists()
    assert sink.close("<html></html>").is_file()
