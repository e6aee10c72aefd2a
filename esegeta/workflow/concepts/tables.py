"""The rows of the tables of concepts: effects, shares, errors, and what was discovered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from esegeta.workflow.concepts.fit import DISCOVERED
from esegeta.workflow.concepts.more import ErrorRow, Shares
from esegeta.workflow.concepts.rows import Row

TCAV_COLUMNS = (
    "concept",
    "kind",
    "layer",
    "target",
    "examples",
    "concept_cases",
    "cases",
    "tested_on",
    "accuracy",
    "accuracy_p",
    "cosine",
    "tcav",
    "size",
    "size_low",
    "size_high",
    "unit",
    "alignment",
    "random_mean",
    "random_sd",
    "p",
    "p_rank",
    "p_cases",
    "p_holm",
    "significant",
    "refused",
)
SHARE_COLUMNS = (
    "layer",
    "target",
    "kind",
    "concept",
    "shapley_dice",
    "dice_nothing",
    "dice_concepts",
    "dice_layer",
    "completeness",
    "random_dice",
    "p",
    "refused",
)
ERROR_COLUMNS = (
    "concept",
    "layer",
    "target",
    "false_components",
    "true_components",
    "difference",
    "false_mean",
    "true_mean",
    "p",
    "p_random",
    "p_holm",
    "significant",
    "refused",
)
DISCOVERED_COLUMNS = (
    "layer",
    "concept",
    "number",
    "examples",
    "cases",
    "stability",
    "rank",
    "target",
    "size",
    "p_holm",
)


def is_significant(row: Row, level: float) -> bool:
    """Tell whether a concept was tested and holds after Holm."""
    return row.tcav is not None and row.p_holm <= level


def tcav_row(row: Row, level: float) -> dict[str, Any]:
    """Return a row of tcav.csv."""
    one, found = row.vectors, row.tcav
    fit = one.fit
    nan = math.nan
    return {
        "concept": one.concept,
        "kind": one.kind,
        "layer": one.layer,
        "target": row.target,
        "examples": one.num_examples,
        "concept_cases": one.num_cases,
        "cases": row.num_cases,
        "tested_on": row.num_units,
        "accuracy": nan if fit is None else fit.accuracy,
        "accuracy_p": nan if fit is None else fit.p,
        "cosine": nan if fit is None else fit.cosine,
        "tcav": nan if found is None else found.share,
        "size": nan if found is None else found.size,
        "size_low": nan if found is None else found.low,
        "size_high": nan if found is None else found.high,
        "unit": row.unit,
        "alignment": nan if found is None else found.alignment,
        "random_mean": nan if found is None else found.null_mean,
        "random_sd": nan if found is None else found.null_spread,
        "p": nan if found is None else found.p,
        "p_rank": nan if found is None else found.p_rank,
        "p_cases": nan if found is None else found.p_cases,
        "p_holm": row.p_holm,
        "significant": is_significant(row, level),
        "refused": row.refused,
    }


def share_rows(own: Shares) -> list[dict[str, Any]]:
    """Return the rows of shap.csv that a layer and a target have."""
    place = {"layer": own.layer, "target": own.target, "kind": own.kind}
    found = own.found
    if found is None:
        nothing = dict.fromkeys(SHARE_COLUMNS[4:-1], math.nan)
        return [{**place, "concept": "", **nothing, "refused": own.refused}]
    shared = {
        "dice_nothing": found.dice_of_nothing,
        "dice_concepts": found.dice,
        "dice_layer": found.dice_of_layer,
        "completeness": found.share,
        "random_dice": float(found.null.mean()),
        "p": found.p,
        "refused": "",
    }
    return [
        {**place, "concept": name, "shapley_dice": float(value), **shared}
        for name, value in zip(own.concepts, found.shapley, strict=True)
    ]


def error_row(row: ErrorRow, level: float) -> dict[str, Any]:
    """Return a row of errors.csv."""
    found = row.found
    return {
        "concept": row.concept,
        "layer": row.layer,
        "target": row.target,
        "false_components": row.num_false,
        "true_components": row.num_true,
        "difference": math.nan if found is None else found.difference,
        "false_mean": math.nan if found is None else found.false_mean,
        "true_mean": math.nan if found is None else found.true_mean,
        "p": math.nan if found is None else found.p,
        "p_random": math.nan if found is None else found.p_random,
        "p_holm": row.p_holm,
        "significant": found is not None and row.p_holm <= level,
        "refused": row.refused,
    }


def discovered_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return discovered concepts by layer and target, those that do most to it first."""
    table = []
    own = [row for row in rows if row.vectors.kind == DISCOVERED]
    places = {id(row): number for row, number in zip(own, _numbers(own), strict=True)}
    for layer, target in dict.fromkeys((row.vectors.layer, row.target) for row in own):
        here = [row for row in own if (row.vectors.layer, row.target) == (layer, target)]
        here.sort(key=lambda row: -abs(row.tcav.size) if row.tcav else math.inf)
        for rank, row in enumerate(here, start=1):
            one = row.vectors
            table.append(
                {
                    "layer": layer,
                    "concept": one.concept,
                    "number": f"{layer}/{places[id(row)]}",
                    "examples": one.num_examples,
                    "cases": one.num_cases,
                    "stability": one.stability,
                    "rank": rank,
                    "target": target,
                    "size": math.nan if row.tcav is None else row.tcav.size,
                    "p_holm": row.p_holm,
                }
            )
    return table


def _numbers(rows: Sequence[Row]) -> list[int]:
    """Return the number of each discovered concept in its layer, from 1, by which it is named."""
    seen: dict[tuple[str, str], int] = {}
    numbers = []
    for row in rows:
        place = (row.vectors.layer, row.target)
        seen[place] = seen.get(place, 0) + 1
        numbers.append(seen[place])
    return numbers
