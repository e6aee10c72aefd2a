"""The task that ends a comparison: its tables, figures and, last of all, its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from esegeta.report import write_rows
from esegeta.results_folder import ANALYSES
from esegeta.similarity import CKA, CKA_RBF, PCA, Moments, is_still
from esegeta.workflow.cache import FILES, keep_json
from esegeta.workflow.one_result import clear, discard
from esegeta.workflow.similarity.build import Comparison
from esegeta.workflow.similarity.estimates import DRAWS, Estimate, Estimator, Matched
from esegeta.workflow.similarity.pictures import draw_pictures
from esegeta.workflow.similarity.sample import held_strata, kept_moments
from esegeta.workflow.similarity.session import SimilaritySession
from esegeta.workflow.similarity.tables import (
    ALL_LABELS,
    CASE_COLUMNS,
    LAYER_COLUMNS,
    PAIR_COLUMNS,
    POINT_COLUMNS,
    case_rows,
    layer_rows,
    pair_rows,
    point_rows,
)
from esegeta.workflow.task import Content, Desk, Task

RECORD = ANALYSES["similarity"]
PAIRS = "similarity.csv"


@dataclass(eq=False)
class Found:
    """What a comparison found.

    Args:
        estimates: estimates by label, the whole data set first, and by measure.
        whole: sums over everything.
        pairs: rows of similarity.csv.
        points: rows of pca.csv; empty where they were not requested.
        cases: table of pairs of cases, by layer; empty for a single case.
        tables: rows and columns of each table, by its file's name.
        notes: notes for the reader.
    """

    estimates: dict[str, dict[str, Estimate]]
    whole: Moments
    pairs: list[dict[str, Any]]
    points: list[dict[str, Any]] = field(default_factory=list)
    cases: list[Tensor] = field(default_factory=list)
    tables: dict[str, tuple[Sequence[str], list[dict[str, Any]]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write_results(task: Task, desk: Desk) -> Content:
    """Write tables, figures and the record, in place of what another comparison has left."""
    assert task.record is not None and task.key is not None
    session: SimilaritySession = desk.job
    comparison = session.comparison
    desk.begin(task.name, [task])
    found = _find(session)
    discard(task.record, comparison.folder)
    files = []
    for name, (columns, rows) in found.tables.items():
        files.append(comparison.folder / name)
        write_rows(files[-1], columns, rows)
    files += draw_pictures(comparison, found.estimates, found.points, found.cases)
    content = {
        **_record(session, found),
        FILES: [str(path.relative_to(comparison.folder)) for path in files],
        "seconds": session.watch.seconds,
    }
    keep_json(task.record, task.key, content, files)
    clear(session.folder)
    desk.note(*found.notes)
    return content


def _find(session: SimilaritySession) -> Found:
    comparison, methods = session.comparison, session.comparison.keys.methods
    measures: list[str] = [name for name in methods if name != PCA] or [CKA]
    matched = Matched.read(session)
    held = [held_strata(session, number) for number in range(len(comparison.groups))]
    present = sorted({stratum for own in held for stratum in own})
    groups = {ALL_LABELS: tuple(present)}
    groups |= {comparison.strata[number]: (number,) for number in present}
    estimates: dict[str, dict[str, Estimate]] = {}
    pairs: list[dict[str, Any]] = []
    wholes = []
    for label, strata in groups.items():
        own = matched.of(strata)
        is_whole = label == ALL_LABELS
        found, sums = Estimator(session, own, strata).estimates(
            measures,
            drawn=measures if is_whole else [CKA, CKA_RBF],
            paired=measures if is_whole else [],
        )
        wholes.append(sums)
        estimates[label] = found
        counts = {name: len(own.case) if name == CKA_RBF else int(sums.count) for name in found}
        num_cases = sum(bool(set(strata) & set(case)) for case in held)
        pairs += pair_rows(comparison, label, found, counts, num_cases)
    result = Found(estimates, wholes[0], pairs)
    result.tables[PAIRS] = (PAIR_COLUMNS, pairs)
    result.tables["layers.csv"] = (LAYER_COLUMNS, layer_rows(comparison, result.whole))
    _add_cases(result, session, matched, tuple(present))
    result.notes += _notes(comparison, result)
    return result


def _add_cases(
    result: Found, session: SimilaritySession, matched: Matched, strata: Sequence[int]
) -> None:
    comparison = session.comparison
    means = []
    for number in range(len(comparison.groups)):
        for stratum in strata:
            means += [
                (number, stratum, part.mean) for part in kept_moments(session, number, [stratum])
            ]
    if PCA in comparison.keys.methods:
        result.points = point_rows(comparison, result.whole, matched, means)
        result.tables["pca.csv"] = (POINT_COLUMNS, result.points)
    if len(comparison.groups) > 1:
        parts = list(Estimator(session, matched, tuple(strata)).parts())
        rows, result.cases = case_rows(comparison, parts)
        result.tables["cases.csv"] = (CASE_COLUMNS, rows)


def _notes(comparison: Comparison, found: Found) -> list[str]:
    notes = []
    still = [
        f"{network}: {layer}"
        for (network, layer), dead in zip(
            comparison.places, is_still(found.whole).tolist(), strict=True
        )
        if dead
    ]
    if still:
        notes.append(f"layers that never change, and have no value: {', '.join(still)}")
    narrow = [
        f"{network}: {layer}"
        for (network, layer), width in zip(comparison.places, comparison.layout.widths, strict=True)
        if 10 * width > float(found.whole.count)
    ]
    correlated = {"cca", "svcca", "pwcca"} & set(comparison.keys.methods)
    if narrow and correlated:
        notes.append(
            f"{', '.join(sorted(correlated))}: fewer than ten positions per unit in "
            f"{', '.join(narrow)}; canonical correlations of so few are large by chance: raise "
            "similarity.samples"
        )
    return notes


def _record(session: SimilaritySession, found: Found) -> dict[str, Any]:
    from esegeta import __version__

    comparison = session.comparison
    basis = comparison.basis
    return {
        "name": basis.config.keys.name,
        "esegeta": __version__,
        "notes": list(dict.fromkeys([*comparison.notes, *found.notes])),
        "networks": [one.describe() for one in comparison.networks],
        "cases": list(comparison.groups),
        "slabs": comparison.keys.slabs,
        "labels": [label for label in found.estimates if label != ALL_LABELS],
        "methods": list(comparison.keys.methods),
        "positions": int(found.whole.count),
        "draws": DRAWS if len(comparison.groups) > 1 else 0,
        "layers": [list(place) for place in comparison.places],
        "tables": {
            name: _numbers(estimate.value) for name, estimate in found.estimates[ALL_LABELS].items()
        },
        "config": basis.config.resolved(),
        "config_file": str(basis.config.document.path),
        "weights_sha256": basis.weights_sha256,
        "code_sha256": basis.code_sha256,
    }


def _numbers(table: Tensor) -> list[list[float | None]]:
    rounded: list[list[float]] = torch.round(table, decimals=6).tolist()
    return [[value if value == value else None for value in row] for row in rounded]
