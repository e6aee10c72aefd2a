"""The task that turns counts into tables, and takes the place of what another run has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from esegeta.report import (
    IMAGE_COLUMNS,
    read_sidecar,
    write_concepts,
    write_pairs,
    write_rows,
    write_units,
)
from esegeta.workflow.desk import Desk
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.find_thresholds import thresholds_of
from esegeta.workflow.dissect.overlaps import AllOverlaps, held_out_iou, overlaps_of
from esegeta.workflow.dissect.session import WHOLE, Session
from esegeta.workflow.dissect.tables import Results, results_of
from esegeta.workflow.task import Content, Task

SUMMARY = "summary.json"


@dataclass(eq=False)
class Written:
    """What tasks have written and found so far, for the summary.

    Args:
        files: in the order in which they are listed.
        notes: what a reader must know.
        trails: to each label, the strongest first; None where none are looked for.
    """

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    trails: Mapping[str, Sequence[str]] | None = None


def write_results(task: Task, desk: Desk) -> Content:
    """Write the tables, in place of what another run has left."""
    session: Session = desk.job
    results = found_results(desk)
    discard(session.dissection.folder)
    files = _write_tables(session.dissection, results, overlaps_of(desk))
    written(desk).files.extend(files)
    return {}


def found_results(desk: Desk) -> Results:
    """Return what is reported of every unit, once all is counted."""
    session: Session = desk.job

    def find() -> Results:
        overlaps = overlaps_of(desk)
        results = results_of(
            session.dissection, thresholds_of(desk), overlaps.counts, held_out_iou(desk)
        )
        return replace(results, findings=overlaps.images.complete(results.findings))

    return desk.once("results", find, depth=WHOLE)


def written(desk: Desk) -> Written:
    """Return what tasks have written so far."""
    return desk.once("written", Written, depth=WHOLE)


def discard(folder: Path) -> None:
    """Remove the results of an earlier run, the summary first: they would look like these."""
    summary = read_sidecar(folder / SUMMARY)
    (folder / SUMMARY).unlink(missing_ok=True)
    for name in (summary or {}).get("files", []):
        path = (folder / str(name)).resolve()
        if path.is_relative_to(folder.resolve()):
            path.unlink(missing_ok=True)


def _write_tables(dissection: Dissection, results: Results, overlaps: AllOverlaps) -> list[Path]:
    folder, tally = dissection.folder, overlaps.counts.tally
    files = [folder / name for name in ("units.csv", "pairs.csv", "concepts.csv")]
    flat = [pair for pairs in results.pairs for pair in pairs]
    sizes = tally.concepts.tolist()
    shares = [size / tally.num_voxels for size in sizes]
    voxels = dict(zip(dissection.concepts.names, zip(sizes, shares, strict=True), strict=True))
    write_units(files[0], results.findings)
    write_pairs(files[1], flat)
    write_concepts(files[2], results.findings, flat, voxels)
    if dissection.keys.per_image is not None:
        files.append(folder / "per_image.csv")
        write_rows(files[-1], IMAGE_COLUMNS, overlaps.images.rows)
    return files
