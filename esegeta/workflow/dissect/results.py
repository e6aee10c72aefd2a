"""The tasks that write what a dissection found: its tables, and at the end the summary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from esegeta.report import (
    IMAGE_COLUMNS,
    write_concepts,
    write_pairs,
    write_rows,
    write_units,
)
from esegeta.results_folder import ANALYSES
from esegeta.workflow.cache import keep_json
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.passes import AllOverlaps, held_out_iou, overlaps_of, thresholds_of
from esegeta.workflow.dissect.session import MEMORY_HINT, WHOLE, DissectionSession
from esegeta.workflow.dissect.tables import UnitResults, results_of, summary_of
from esegeta.workflow.one_result import clear, discard, last_task, recall_nothing, written
from esegeta.workflow.task import Content, Desk, Kind, Task

SUMMARY = ANALYSES["dissection"]


def write_results(task: Task, desk: Desk) -> Content:
    """Write the tables, in place of what another run has left."""
    session: DissectionSession = desk.job
    results = found_results(desk)
    folder = session.dissection.folder
    discard(folder / SUMMARY, folder)
    files = _write_tables(session.dissection, results, overlaps_of(desk))
    written(desk).files.extend(files)
    return {}


def found_results(desk: Desk) -> UnitResults:
    """Return what is reported of every unit, once all is counted."""
    session: DissectionSession = desk.job

    def find() -> UnitResults:
        overlaps = overlaps_of(desk)
        results = results_of(
            session.dissection, thresholds_of(desk), overlaps.counts, held_out_iou(desk)
        )
        return replace(results, findings=overlaps.images.complete(results.findings))

    return desk.once("results", find, depth=WHOLE)


def _write_tables(
    dissection: Dissection, results: UnitResults, overlaps: AllOverlaps
) -> list[Path]:
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


def summary_task(session: DissectionSession, *needs: str) -> Task:
    """Return the task that ends a dissection.

    Args:
        session: session of the dissection.
        needs: names of tasks without which there is nothing to sum up.
    """
    record = session.dissection.folder / SUMMARY
    return last_task("summary", SUMMARIZE, record, lambda: session.fingerprint, needs=needs)


def write_summary(task: Task, desk: Desk) -> Content:
    """Write the summary, and remove what was kept to go on with."""
    from esegeta import __version__

    session: DissectionSession = desk.job
    dissection, found = session.dissection, written(desk)
    summary = summary_of(dissection, found_results(desk), overlaps_of(desk).counts)
    summary["notes"] += found.notes
    summary |= found.entries
    content = {
        "name": dissection.basis.config.keys.name,
        "esegeta": __version__,
        **summary,
        "files": [str(path.relative_to(dissection.folder)) for path in found.files],
        "seconds": session.watch.seconds,
        "config": dissection.basis.config.resolved(),
        "weights_sha256": dissection.basis.weights_sha256,
        "code_sha256": dissection.basis.code_sha256,
    }
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content, found.files)
    clear(session.folder)
    desk.note(*summary["notes"])
    return content


SUMMARIZE = Kind(write_summary, recall=recall_nothing, memory_hint=MEMORY_HINT)
