"""The study as files: tables, leaderboard, figures and the report of how it was made."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Container
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from esegeta.compare import csv_tables
from esegeta.compare.figures import box_pages, correlation_map, rank_diagrams
from esegeta.compare.findings import findings
from esegeta.compare.folder import RECORD
from esegeta.compare.leaderboard import leaderboard, nulls_sentence
from esegeta.compare.merge import Failure
from esegeta.compare.study import Study
from esegeta.errors import OutputError
from esegeta.report import (
    PREAMBLE,
    draw_boxes,
    draw_heat_map,
    draw_rank_diagram,
    to_latex,
    to_markdown,
    write_csv,
)
from esegeta.report.shapes import NotesTold, read_told
from esegeta.results_folder import RUN_RECORD, SCORES_TABLE
from esegeta.volume import atomic_path, sweep, write_json, write_text

PACKAGES = ("numpy", "scipy", "matplotlib")
UNFIT = re.compile(r'[\s/\\:*?"<>|#]')

Writer = Callable[[Path], None]
Drawn = TypeVar("Drawn")


def save_study(study: Study, root: Path) -> list[Path]:
    """Write a study's files into a folder; those of an earlier one in it are replaced.

    compare.json names all files before the first is written, and is written again last.

    Returns:
        The files.

    Raises:
        OutputError: the folder belongs to a run, holds other files of these names, or cannot be
            written.
    """
    if (root / RUN_RECORD).exists():
        raise OutputError(
            f"{root}: is the folder of a run; its scores.csv would be overwritten",
            hint="name another folder with -o",
        )
    writers = _writers(study)
    names = [*writers, "report.md", RECORD]
    foreign = [name for name in names if (root / name).exists()]
    if foreign and RECORD not in foreign:
        raise OutputError(
            f"{root}: holds {foreign[0]}, which was not written by a comparison",
            hint="name another folder with -o",
        )
    if root.is_dir():
        sweep(root)
    earlier = (read_told(root / RECORD, NotesTold) or {}).get("files") or []
    write_json(root / RECORD, {**_record(study), "state": "writing", "files": [*names, *earlier]})
    for name in earlier:
        if name not in names and Path(str(name)).name == name:
            (root / name).unlink(missing_ok=True)
    for name, write in writers.items():
        write(root / name)
    write_text(root / "report.md", findings(study, names))
    write_json(root / RECORD, {**_record(study), "state": "complete", "files": names})
    return [root / name for name in names]


def _writers(study: Study) -> dict[str, Writer]:
    """Return how each file is written, by name."""
    writers: dict[str, Writer] = {
        SCORES_TABLE: lambda path: write_csv(path, csv_tables.SCORES, csv_tables.scores(study)),
        "summary.csv": lambda path: write_csv(path, csv_tables.SUMMARY, csv_tables.summary(study)),
        "ranks.csv": lambda path: write_csv(path, csv_tables.RANKS, csv_tables.ranks(study)),
        "tests.csv": lambda path: write_csv(path, csv_tables.TESTS, csv_tables.tests(study)),
        "correlations.csv": lambda path: write_csv(
            path, csv_tables.CORRELATIONS, csv_tables.correlations(study)
        ),
        "leaderboard.md": lambda path: write_text(path, _markdown(study)),
        "leaderboard.tex": lambda path: write_text(path, _latex(study)),
    }
    for name, page in box_pages(study):
        writers[_png(name, writers)] = _drawn(draw_boxes, page)
    for name, diagram in rank_diagrams(study):
        writers[_png(name, writers)] = _drawn(draw_rank_diagram, diagram)
    if len(study.scores) > 1:
        writers["correlations.png"] = _drawn(draw_heat_map, correlation_map(study))
    return writers


def _drawn(draw: Callable[[Path, Drawn], None], what: Drawn) -> Writer:
    """Return a writer whose picture appears whole or not at all."""

    def write(path: Path) -> None:
        with atomic_path(path) as temporary:
            draw(temporary, what)

    return write


def _png(name: str, taken: Container[str]) -> str:
    """Return a file name; characters that it cannot hold must not make two names the same."""
    fit = UNFIT.sub("-", name)
    while f"{fit}.png" in taken:
        fit += "-"
    return f"{fit}.png"


def _markdown(study: Study) -> str:
    head = "# Leaderboard\n\n" + nulls_sentence(study) + "\n"
    return "\n".join([head, *(to_markdown(table) for table in leaderboard(study))])


def _latex(study: Study) -> str:
    tables = enumerate(leaderboard(study), start=1)
    floats = [to_latex(table, label=f"tab:esegeta-{number}") for number, table in tables]
    return "\n".join([PREAMBLE, *floats])


def _record(study: Study) -> dict[str, Any]:
    from esegeta import __version__

    entries = [entry for some in study.merged.entries.values() for entry in some]
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "esegeta": __version__,
        "versions": {"python": platform.python_version(), **versions},
        "inputs": [
            {
                "folder": str(folder.path.resolve()),
                "model": model,
                "name": folder.name,
                "state": folder.state,
                "weights_sha256": folder.weights_sha256,
                "esegeta": folder.record.get("esegeta"),
                "values": len(folder.rows),
            }
            for model, folders in study.merged.models.items()
            for folder in folders
        ],
        "counts": {
            "models": len(study.merged.models),
            "methods": len({one.method for one in study.merged.competitors}),
            "cases": len({entry.case for entry in entries}),
            "targets": len({entry.target for entry in entries}),
            "scores": len(study.scores),
            "values": len(entries),
            "tests": sum(pair.p_holm is not None for score in study.scores for pair in score.pairs),
        },
        "null_competitors": [asdict(one) for one in study.merged.competitors if one.null],
        "degenerate": [_named(one) for one in study.merged.failures if one.is_degenerate],
        "failed": [_named(one) for one in study.merged.failures if not one.is_degenerate],
        "undefined": [asdict(one) for one in study.merged.undefined],
        "notes": list(study.merged.notes),
    }


def _named(failure: Failure) -> dict[str, str]:
    """Return which task failed and why; its list tells the kind of failure."""
    return {key: value for key, value in asdict(failure).items() if key != "is_degenerate"}
