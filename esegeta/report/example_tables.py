"""CSV tables of examples: groups, prototypes, neighbours, influence, surrogates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from esegeta.report.csv_tables import CellValue, write_csv

EXAMPLE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "groups": ("group", "items", "width", "mmd2", "greedy_mmd2", "random_mmd2", "reaches"),
    "prototypes": (
        *("group", "role", "rank", "item", "case", "voxels"),
        *("x_mm", "y_mm", "z_mm", "share", "witness"),
    ),
    "neighbours": ("group", "item", "kind", "rank", "neighbour", "distance", "same_case"),
    "influence": ("case", "target", "training", "method", "layer", "value"),
    "self_influence": ("rank", "training", "self_influence", "curvature", "loss"),
    "leave_one_out": (
        *("case", "target", "training", "seeds", "change", "sd"),
        *("tracin", "gradient_similarity", "curvature"),
        *("given_tracin", "given_gradient_similarity", "given_curvature"),
    ),
    "rank_correlation": ("case", "target", "method", "checkpoints", "n", "correlation", "p"),
    "surrogate": (
        *("label", "question", "kind", "fidelity", "drawn", "sensitivity", "specificity"),
        *("regions", "positive", "held_out"),
    ),
    "surrogate_features": ("label", "feature", "weight"),
}
"""The columns of each table, by its name."""


def write_examples_table(root: Path, name: str, rows: Iterable[Sequence[CellValue]]) -> None:
    """Write one of the tables of `EXAMPLE_COLUMNS`; an empty field is not known."""
    write_csv(root / f"{name}.csv", EXAMPLE_COLUMNS[name], rows)
