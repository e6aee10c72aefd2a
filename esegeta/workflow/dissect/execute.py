"""Run a dissection from its first pass to its last file; resume where it was left."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from esegeta.dissection.all_counts import Counts
from esegeta.report import (
    IMAGE_COLUMNS,
    read_sidecar,
    write_concepts,
    write_dataset_files,
    write_pairs,
    write_rows,
    write_units,
)
from esegeta.volume import sweep, write_json
from esegeta.workflow import Listener, Silence
from esegeta.workflow.dissect.ablate import check_ablation, write_ablation
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.kept import clear
from esegeta.workflow.dissect.pictures import write_pictures
from esegeta.workflow.dissect.session import Session
from esegeta.workflow.dissect.tables import ImageTable, Results, results_of, summary_of
from esegeta.workflow.dissect.trail_files import check_trails, write_trails

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Dissected:
    """How a dissection ended.

    Args:
        summary: as it stands in summary.json.
        skipped: it was finished before and nothing was done.
        seconds: that it took.
    """

    summary: dict[str, Any]
    skipped: bool
    seconds: float


def run_dissection(
    dissection: Dissection, listener: Listener | None = None, *, overwrite: bool = False
) -> Dissected:
    """Dissect, and write tables, figures, masks and, last of all, the summary.

    What an earlier run of the same dissection has finished is not done again: all of it where the
    summary is there and matches, else the passes over cases that are kept.

    Raises:
        EsegetaError: a case cannot be read, or memory or disk run out; what is done is kept.
    """
    from esegeta import __version__

    start = time.perf_counter()
    listener = listener or Silence()
    session = Session(dissection, listener)
    check_ablation(session)
    check_trails(session)
    if overwrite:
        clear(session.folder)
    else:
        known = finished(session)
        if known is not None:
            return Dissected(known, True, time.perf_counter() - start)
    for note in dissection.basis.notes:
        listener.note(note)
    if (dissection.folder / SUMMARY).is_file():
        listener.note(f"the dissection in {dissection.folder} is replaced once this one is ready")
    sweep(dissection.basis.root)
    write_dataset_files(dissection.basis.root, dissection.basis.config.keys.name, __version__)
    session.plan()
    summary = _dissect(session)
    seconds = time.perf_counter() - start
    summary = {
        "name": dissection.basis.config.keys.name,
        "esegeta": __version__,
        "fingerprint": session.fingerprint,
        **summary,
        "seconds": round(seconds, 3),
        "config": dissection.basis.config.resolved(),
        "weights_sha256": dissection.basis.weights_sha256,
        "code_sha256": dissection.basis.code_sha256,
    }
    write_json(dissection.folder / SUMMARY, summary)
    clear(session.folder)
    for note in summary["notes"]:
        listener.note(note)
    return Dissected(summary, False, seconds)


def finished(session: Session) -> dict[str, Any] | None:
    """Return the summary of an earlier run that matches and whose files are all there."""
    folder = session.dissection.folder
    summary = read_sidecar(folder / SUMMARY)
    if summary is None or summary.get("fingerprint") != session.fingerprint:
        return None
    there = all((folder / str(name)).is_file() for name in summary.get("files", []))
    return summary if there else None


def discard(folder: Path) -> None:
    """Remove the results of an earlier run, the summary first: they would look like these."""
    summary = read_sidecar(folder / SUMMARY)
    (folder / SUMMARY).unlink(missing_ok=True)
    for name in (summary or {}).get("files", []):
        path = (folder / str(name)).resolve()
        if path.is_relative_to(folder.resolve()):
            path.unlink(missing_ok=True)


def _dissect(session: Session) -> dict[str, Any]:
    dissection = session.dissection
    unit_thresholds = session.unit_thresholds()
    images = ImageTable(dissection)
    peaks = []

    def counts() -> Any:
        for case, found in zip(session.cases, session.counts(unit_thresholds), strict=True):
            images.add(case.name, found)
            peaks.append(found.peak)
            yield found

    all_counts = Counts.of(counts())
    held_out = session.held_out_iou(all_counts, unit_thresholds)
    results = results_of(dissection, unit_thresholds, all_counts, held_out)
    results = replace(results, findings=images.complete(results.findings))
    discard(dissection.folder)
    files = _write_tables(session, results, all_counts, images)
    files += write_pictures(session, results, unit_thresholds, torch.stack(peaks))
    summary = summary_of(dissection, results, all_counts)
    if dissection.keys.ablation is not None:
        ablated = write_ablation(session, results, unit_thresholds)
        files += ablated.files
        summary["notes"] += ablated.notes
    if dissection.keys.trails is not None:
        found = write_trails(session, results, unit_thresholds)
        files += found.files
        summary["trails"] = found.words
        summary["notes"] += found.notes
    return {**summary, "files": [str(path.relative_to(dissection.folder)) for path in files]}


def _write_tables(
    session: Session, results: Results, all_counts: Counts, images: ImageTable
) -> list[Path]:
    dissection, folder = session.dissection, session.dissection.folder
    files = [folder / name for name in ("units.csv", "pairs.csv", "concepts.csv")]
    flat = [pair for pairs in results.pairs for pair in pairs]
    sizes = all_counts.tally.concepts.tolist()
    shares = [size / all_counts.tally.num_voxels for size in sizes]
    voxels = dict(zip(dissection.concepts.names, zip(sizes, shares, strict=True), strict=True))
    write_units(files[0], results.findings)
    write_pairs(files[1], flat)
    write_concepts(files[2], results.findings, flat, voxels)
    if dissection.keys.per_image is not None:
        files.append(folder / "per_image.csv")
        write_rows(files[-1], IMAGE_COLUMNS, images.rows)
    return files
