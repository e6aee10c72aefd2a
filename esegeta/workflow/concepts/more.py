"""ConceptSHAP of each layer and target; and which concepts tell false components from true ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from esegeta.concepts import ConceptCompleteness, Contrast, Positions, completeness, contrast
from esegeta.multiple_tests import holm
from esegeta.workflow.cache import name_of_tensor
from esegeta.workflow.concepts.fit import DISCOVERED, NAMED, Vectors, vectors_of
from esegeta.workflow.concepts.session import WHOLE, ConceptSession
from esegeta.workflow.concepts.slopes import ERRORS_OF, are_false, slopes_of
from esegeta.workflow.task import Desk


@dataclass(frozen=True, eq=False)
class Shares:
    """How much of a target's label the concepts of a layer recover.

    Args:
        layer: its name.
        target: name of the target.
        kind: of the concepts.
        concepts: their names.
        found: the figures; None where they are refused.
        refused: why.
    """

    layer: str
    target: str
    kind: str
    concepts: tuple[str, ...]
    found: ConceptCompleteness | None
    refused: str = ""


@dataclass(frozen=True)
class ErrorRow:
    """How a concept acts on false components and on true ones.

    Args:
        layer: its name.
        concept: its name.
        target: name of the target.
        num_false: components that no ground truth meets.
        num_true: the others.
        found: the figures; None where they are refused.
        p_holm: over concepts x layers.
        refused: why.
    """

    layer: str
    concept: str
    target: str
    num_false: int
    num_true: int
    found: Contrast | None
    p_holm: float = float("nan")
    refused: str = ""


def shares_of(desk: Desk) -> list[Shares]:
    """Return ConceptSHAP of all layers and targets; nothing where it is not asked for."""
    session: ConceptSession = desk.job

    def work() -> list[Shares]:
        if session.run.keys.shap is None:
            return []
        kept = [session.kept("regions", number) for number in range(len(session.cases))]
        return [
            _shares(session, kept, layer.name, plan.name, kind, vectors_of(desk))
            for layer in session.run.layers
            for plan in session.run.targets
            for kind in (NAMED, DISCOVERED)
            if plan.keys.label is not None and any(one.kind == kind for one in vectors_of(desk))
        ]

    return desk.once("shares", work, depth=WHOLE)


def errors_of(desk: Desk) -> list[ErrorRow]:
    """Return which concepts tell false components from true ones; nothing where it is not asked."""
    session: ConceptSession = desk.job

    def work() -> list[ErrorRow]:
        if session.run.keys.errors is None:
            return []
        kept = [session.kept("slopes", number) for number in range(len(session.cases))]
        rows = [
            _error_row(session, kept, vectors, plan.name)
            for plan in session.run.targets
            if plan.keys.label is not None
            for vectors in vectors_of(desk)
        ]
        adjusted = holm([float("nan") if row.found is None else row.found.p_larger for row in rows])
        return [
            ErrorRow(**{**vars(row), "p_holm": p}) for row, p in zip(rows, adjusted, strict=True)
        ]

    return desk.once("errors", work, depth=WHOLE)


def _shares(
    session: ConceptSession,
    kept: list[dict[str, Tensor]],
    layer: str,
    target: str,
    kind: str,
    vectors: list[Vectors],
) -> Shares:
    keys = session.run.keys.shap
    assert keys is not None
    own = [one for one in vectors if one.kind == kind and one.layer == layer and not one.refused]
    names = tuple(one.concept for one in own)
    if not own:
        return Shares(layer, target, kind, names, None, "no concept's vector generalises")
    positions = _positions(kept, layer, target)
    if len(np.unique(positions.cases[positions.is_label])) < 2:
        why = "fewer than two cases are predicted to hold the label"
        return Shares(layer, target, kind, names, None, why)
    units = positions.activations.shape[1]
    if len(own) >= units:
        why = f"{len(own)} concepts span all {units} units of the layer, as random vectors do"
        return Shares(layer, target, kind, names, None, why)
    means = np.stack([one.fit.mean.vector for one in own if one.fit is not None])
    found = completeness(
        positions,
        means,
        randoms=session.run.keys.randoms,
        samples=keys.samples,
        seed=session.seed,
    )
    return Shares(layer, target, kind, names, found)


def _positions(kept: list[dict[str, Tensor]], layer: str, target: str) -> Positions:
    parts = []
    for one in kept:
        first, stop = one[name_of_tensor("rows", target)].tolist()
        parts.append(
            (
                one[name_of_tensor("positions", layer)][first:stop].double().numpy(),
                one[name_of_tensor("is_label", target)].numpy(),
                one[name_of_tensor("weights", target)].double().numpy(),
                one[name_of_tensor("groups", target)].numpy(),
            )
        )
    return Positions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _error_row(
    session: ConceptSession, kept: list[dict[str, Tensor]], vectors: Vectors, target: str
) -> ErrorRow:
    keys = session.run.keys.errors
    assert keys is not None
    slopes = slopes_of(kept, ERRORS_OF, target, vectors.layer)
    is_false = are_false(kept, target)
    counts = int(is_false.sum()), int((~is_false).sum())
    place = (vectors.layer, vectors.concept, target, *counts)
    if vectors.refused or vectors.fit is None:
        return ErrorRow(*place, None, refused=vectors.refused)
    if slopes is None or min(counts) < 2:
        why = f"{counts[0]} false and {counts[1]} true components: a test needs two of each kind"
        return ErrorRow(*place, None, refused=why)
    found = contrast(
        slopes.steps(vectors.fit.cavs).mean(axis=0),
        is_false,
        slopes.steps(vectors.randoms),
        permutations=keys.permutations,
        seed=session.seed,
    )
    return ErrorRow(*place, found)
