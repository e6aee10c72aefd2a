"""What is written of concepts: tables, vectors, figures, and concepts.json last of all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from esegeta.report import write_rows
from esegeta.report.file_names import distinct_parts
from esegeta.report.tcav_figures import ShareBars, SizeBar, draw_shares, draw_sizes
from esegeta.results_folder import ANALYSES
from esegeta.volume import atomic_path
from esegeta.workflow.cache import keep_json
from esegeta.workflow.concepts.fit import DISCOVERED, Vectors, vectors_of
from esegeta.workflow.concepts.more import Shares, errors_of, shares_of
from esegeta.workflow.concepts.rows import Row, rows_of
from esegeta.workflow.concepts.session import MEMORY_HINT, ConceptSession, as_json
from esegeta.workflow.concepts.tables import (
    DISCOVERED_COLUMNS,
    ERROR_COLUMNS,
    SHARE_COLUMNS,
    TCAV_COLUMNS,
    discovered_rows,
    error_row,
    is_significant,
    share_rows,
    tcav_row,
)
from esegeta.workflow.one_result import clear, discard, last_task, recall_nothing, written
from esegeta.workflow.task import Content, Desk, Kind, Task

RECORD = ANALYSES["concepts"]


def write_results(task: Task, desk: Desk) -> Content:
    """Fit, test, and write tables, vectors and figures in place of what another run has left."""
    session: ConceptSession = desk.job
    rows = rows_of(desk)
    shares, errors = shares_of(desk), errors_of(desk)
    folder = session.run.folder
    discard(folder / RECORD, session.run.basis.root)  # maps lie with their cases
    folder.mkdir(parents=True, exist_ok=True)
    files = written(desk).files
    level = session.run.keys.level
    write_rows(folder / "tcav.csv", TCAV_COLUMNS, [tcav_row(row, level) for row in rows])
    _write_vectors(folder / "cavs.safetensors", vectors_of(desk))
    files += [folder / "tcav.csv", folder / "cavs.safetensors"]
    if shares:
        table = [one for own in shares for one in share_rows(own)]
        write_rows(folder / "shap.csv", SHARE_COLUMNS, table)
        files.append(folder / "shap.csv")
    if errors:
        write_rows(folder / "errors.csv", ERROR_COLUMNS, [error_row(e, level) for e in errors])
        files.append(folder / "errors.csv")
    if session.run.keys.discover is not None:
        write_rows(folder / "discovered.csv", DISCOVERED_COLUMNS, discovered_rows(rows))
        files.append(folder / "discovered.csv")
    files += _draw(session, rows, shares, desk)
    return {}


def record_task(session: ConceptSession, *needs: str) -> Task:
    """Return the task that ends the command.

    Args:
        session: of the command.
        needs: names of tasks without which there is nothing to record.
    """
    record = session.run.folder / RECORD
    return last_task("summary", SUMMARIZE, record, lambda: session.fingerprint, needs=needs)


def write_record(task: Task, desk: Desk) -> Content:
    """Write the record, and remove what was kept to go on with."""
    from esegeta import __version__

    session: ConceptSession = desk.job
    run = session.run
    notes = notes_of(desk)
    content = {
        "name": run.basis.config.keys.name,
        "esegeta": __version__,
        "cases": [run.group_name(number) for number in range(run.num_groups)],
        "slabs": run.keys.slabs,
        "level": run.keys.level,
        "randoms": run.keys.randoms,
        "layers": {layer.name: layer.num_units for layer in run.layers},
        "targets": [plan.name for plan in run.targets],
        "concepts": [_vectors_record(one) for one in vectors_of(desk)],
        "significant": [
            {"concept": row.vectors.concept, "layer": row.vectors.layer, "target": row.target}
            for row in rows_of(desk)
            if is_significant(row, run.keys.level)
        ],
        "shap": [_shares_record(one) for one in shares_of(desk)],
        "notes": notes,
        "files": [_relative(path, run.folder) for path in written(desk).files],
        "seconds": session.watch.seconds,
        "config": run.basis.config.resolved(),
        "weights_sha256": run.basis.weights_sha256,
        "code_sha256": run.basis.code_sha256,
    }
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content, written(desk).files)
    clear(session.folder)
    desk.note(*notes)
    return content


def notes_of(desk: Desk) -> list[str]:
    """Return what a reader of the tables must know."""
    session: ConceptSession = desk.job
    run, rows = session.run, rows_of(desk)
    notes = []
    if run.slabs > 1:
        notes.append(
            f"cases are {run.slabs} slabs of each scan: what holds in slabs of one patient need "
            "not hold in other patients"
        )
    groups = run.num_groups
    if groups < 6:
        notes.append(f"{groups} cases: intervals over so few are rough; six or more are better")
    unmatched = {
        one.concept: one.matched.get("the body", 0.0)
        for one in vectors_of(desk)
        if one.matched.get("the body", 0.0) > 0
        and run.keys.counters == "matched"
        and one.concept not in run.shown
    }
    for name, share in unmatched.items():
        notes.append(
            f"{name}: {100 * share:.0f} % of its examples have no other place as deep in the body; "
            "their counter-examples are from anywhere in it, so the vector may encode the place"
        )
    for name, images in run.shown.items():
        notes.append(
            f"{name}: defined by {len(images)} images, compared with patches from anywhere in the "
            "cases' bodies: any other difference between these images and the cases is in the "
            "vector too"
        )
    if run.keys.counters == "anywhere":
        notes.append("counters: anywhere: a vector may distinguish places instead of a concept")
    if run.keys.discover is not None:
        notes.append(
            "discovered concepts are groups that the layer itself distinguishes, so their "
            "generalising is not a finding"
        )
        counts = Counter(one.layer for one in vectors_of(desk) if one.kind == DISCOVERED)
        known = {f"{layer}/{one}" for layer, count in counts.items() for one in range(1, count + 1)}
        lost = [name for name in run.keys.discover.names if name not in known]
        if lost:
            notes.append(f"discover.names: no such concept: {', '.join(lost)}; write LAYER/NUMBER")
    refused = sorted({row.vectors.concept for row in rows if row.tcav is None})
    if refused:
        notes.append(f"without a figure in one layer or more: {', '.join(refused)}; see `refused`")
    return notes


def _write_vectors(path: Path, found: Sequence[Vectors]) -> None:
    """Write each concept's vectors, one a draw, with their mean, and its step."""
    tensors = {}
    for one in found:
        if one.fit is None:
            continue
        name, mean = f"{one.layer}/{one.concept}", one.fit.mean
        draws = np.stack([cav.vector for cav in one.fit.cavs])
        tensors[name] = torch.from_numpy(mean.vector.astype(np.float32))
        tensors[f"{name}/draws"] = torch.from_numpy(draws.astype(np.float32))
        tensors[f"{name}/step"] = torch.from_numpy(mean.step.astype(np.float32))
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"unit": "directions in activations, length one"})


def _vectors_record(one: Vectors) -> dict[str, Any]:
    fit = one.fit
    return as_json(
        {
            "concept": one.concept,
            "layer": one.layer,
            "kind": one.kind,
            "examples": one.num_examples,
            "cases": one.num_cases,
            "matched": dict(one.matched),
            "accuracy": math.nan if fit is None else fit.accuracy,
            "accuracy_p": math.nan if fit is None else fit.p,
            "cosine": math.nan if fit is None else fit.cosine,
            "stability": one.stability,
            "refused": one.refused,
        }
    )


def _shares_record(own: Shares) -> Mapping[str, Any]:
    found = own.found
    place = {"layer": own.layer, "target": own.target, "kind": own.kind, "refused": own.refused}
    if found is None:
        return place
    values = dict(zip(own.concepts, found.shapley.tolist(), strict=True))
    return {
        **place,
        **as_json(
            {
                "dice_nothing": found.dice_of_nothing,
                "dice_concepts": found.dice,
                "dice_layer": found.dice_of_layer,
                "completeness": found.share,
                "p": found.p,
            }
        ),
        "shapley": values,
    }


def _draw(
    session: ConceptSession, rows: Sequence[Row], shares: Sequence[Shares], desk: Desk
) -> list[Path]:
    files = []
    name, level = session.run.basis.config.keys.name, session.run.keys.level
    parts = distinct_parts({row.target: row.target for row in rows})
    for target, kind in dict.fromkeys((row.target, row.vectors.kind) for row in rows):
        own = [row for row in rows if (row.target, row.vectors.kind) == (target, kind)]
        path = session.run.folder / f"tcav_{kind}_{parts[target]}.png"
        title = (
            f"{name}: what {kind} concepts do to {target}; filled: holds after Holm, grey: 95 % of "
            "random concepts"
        )
        unit = next((row.unit for row in own if row.unit), "logit")
        with atomic_path(path) as temporary:
            draw_sizes(temporary, [_bar(row, level) for row in own], title, unit)
        files.append(path)
    panels = [_share_bars(one) for one in shares if one.found is not None]
    if panels:
        path = session.run.folder / "shap.png"
        with atomic_path(path) as temporary:
            draw_shares(
                temporary, panels, f"{name}: what concepts recover of a label (ConceptSHAP)"
            )
        files.append(path)
    return files


def _bar(row: Row, level: float) -> SizeBar:
    one, found = row.vectors, row.tcav
    if found is None:
        short = "refused: " + row.refused.split(":")[0]
        nans = (math.nan,) * 5
        return SizeBar(one.concept, one.layer, *nans, significant=False, note=short)
    return SizeBar(
        one.concept,
        one.layer,
        found.size,
        found.low,
        found.high,
        found.null_mean,
        found.null_spread,
        significant=is_significant(row, level),
        note=f"TCAV {found.share:.2f}",
    )


def _share_bars(own: Shares) -> ShareBars:
    found = own.found
    assert found is not None
    return ShareBars(
        f"{own.layer}, {own.target}, {own.kind}: completeness {found.share:.2f}, p {found.p:.2g}",
        own.concepts,
        found.shapley.tolist(),
        found.dice_of_nothing,
        found.dice,
        found.dice_of_layer,
        found.null.tolist(),
    )


def _relative(path: Path, folder: Path) -> str:
    """Return a path as the record names it; maps lie beside the folder."""
    if path.is_relative_to(folder):
        return str(path.relative_to(folder))
    return str(Path("..") / path.relative_to(folder.parent))


SUMMARIZE = Kind(write_record, recall=recall_nothing, memory_hint=MEMORY_HINT)
