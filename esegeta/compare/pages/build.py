"""A report from finished folders: read, copied for the eye, and put on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esegeta.compare.pages.curves import charts_of
from esegeta.compare.pages.extras import sections_of
from esegeta.compare.pages.maps import Focus, show_map
from esegeta.compare.pages.records import methods_to_cite, record_of, scores_to_cite
from esegeta.compare.pages.runs import ReportRun, read_runs
from esegeta.compare.pages.scans import show_case
from esegeta.compare.pages.score_lines import score_heads, score_lines
from esegeta.report.page import CaseEntry, MapEntry, PageContent, Sink, sink_for, write_page
from esegeta.results_folder import REPORT


def report_place(paths: Sequence[Path]) -> Path:
    """Return the default folder of a report: inside its run, or beside its runs."""
    if len(paths) == 1:
        return paths[0] / REPORT
    parents = {path.resolve().parent for path in paths}
    return (paths[0].parent if len(parents) == 1 else Path("results")) / REPORT


def write_report(paths: Sequence[Path], output: Path, *, single_file: bool = False) -> Path:
    """Write a report of finished runs; nothing is recomputed and nothing else is touched.

    Args:
        paths: folders of runs, or folders that hold such folders.
        output: the report's folder, or its file.
        single_file: whether to put everything into one page.

    Returns:
        The page.

    Raises:
        RunError: a folder is missing or holds no run.
        OutputError: the report's folder holds a page that is not a report, or cannot be written.
    """
    runs = read_runs(paths)
    sink = sink_for(output, single_file=single_file)
    cases: list[CaseEntry] = []
    maps: list[MapEntry] = []
    for run in runs:
        _show(run, sink, cases, maps)
    heads = score_heads(runs)
    content = PageContent(
        title=", ".join(run.folder.name for run in runs),
        version=_version(),
        cases=cases,
        maps=maps,
        score_heads=heads,
        score_lines=[line for run in runs for line in score_lines(run, heads)],
        charts=[chart for run in runs for chart in charts_of(run)],
        sections=[section for run in runs for section in sections_of(run, sink)],
        runs=[record_of(run) for run in runs],
        methods=methods_to_cite(runs),
        scores=scores_to_cite(runs),
        notes=[*_states(runs), *(text for run in runs for text in run.foreign.values())],
    )
    return write_page(content, sink)


def _show(run: ReportRun, sink: Sink, cases: list[CaseEntry], maps: list[MapEntry]) -> None:
    for name in run.case_names:
        ground = show_case(run, name, sink)
        if ground is None:
            continue
        cases.append(ground.entry)
        focus = Focus(run, ground)
        maps += [show_map(run, key, ground, focus, sink) for key in run.tasks if key[0] == name]


def _states(runs: Sequence[ReportRun]) -> list[str]:
    words = {
        "running": "is still running or was killed",
        "stopped": "was stopped",
        "incomplete": "has failed tasks",
        "failed": "failed",
    }
    return [
        f"The run {run.folder.name} {words[run.folder.state]}; what exists so far is shown."
        for run in runs
        if run.folder.state in words
    ]


def _version() -> str:
    from esegeta import __version__

    return __version__
