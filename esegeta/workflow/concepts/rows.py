"""What every concept in every layer does to every target."""

from __future__ import annotations

from dataclasses import dataclass

from esegeta.concepts import (
    Slopes,
    Tcav,
    score_concept,
)
from esegeta.multiple_tests import holm
from esegeta.workflow.concepts.fit import Vectors, vectors_of
from esegeta.workflow.concepts.session import WHOLE, ConceptSession
from esegeta.workflow.concepts.slopes import UNITS, WHOLE_OF, slopes_of
from esegeta.workflow.task import Desk


@dataclass(frozen=True, eq=False)
class Row:
    """What a concept in a layer does to a target.

    Args:
        vectors: of the concept in the layer.
        target: name of the target.
        num_units: cases, slabs or components that it was tested on.
        num_cases: of cases or slabs.
        tcav: the figures; None where they are refused.
        p_holm: over concepts of its kind x layers.
        refused: why there is none.
        unit: of the size.
    """

    vectors: Vectors
    target: str
    num_units: int
    num_cases: int
    tcav: Tcav | None = None
    p_holm: float = float("nan")
    refused: str = ""
    unit: str = ""


def rows_of(desk: Desk) -> list[Row]:
    """Return what every concept does to every target, once slopes are taken."""
    session: ConceptSession = desk.job

    def test() -> list[Row]:
        numbers = range(len(session.cases))
        kept = [session.kept("slopes", number) for number in numbers]
        units = [session.facts("slopes", number)[UNITS] for number in numbers]
        rows = []
        for plan in session.run.targets:
            unit = next((own[plan.name] for own in units if plan.name in own), "")
            for vectors in vectors_of(desk):
                slopes = slopes_of(kept, WHOLE_OF, plan.name, vectors.layer)
                rows.append(_row(session, vectors, plan.name, slopes, unit))
        return _adjusted(rows)

    return desk.once("rows", test, depth=WHOLE)


def _row(
    session: ConceptSession, vectors: Vectors, target: str, slopes: Slopes | None, unit: str
) -> Row:
    if slopes is None:
        return Row(vectors, target, 0, 0, refused="no case has the target")
    counts = (len(slopes.values), slopes.num_cases)
    if vectors.refused:
        return Row(vectors, target, *counts, refused=vectors.refused, unit=unit)
    if slopes.num_cases < 2:
        why = "only one case has the target: nothing is tested on one case"
        return Row(vectors, target, *counts, refused=why, unit=unit)
    assert vectors.fit is not None
    fit = vectors.fit
    tcav = score_concept(fit.cavs, vectors.randoms, slopes, steps=fit.steps, seed=session.seed)
    return Row(vectors, target, *counts, tcav=tcav, unit=unit)


def _adjusted(rows: list[Row]) -> list[Row]:
    """Return the rows with Holm's p over concepts of a kind x layers, target by target."""
    families: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        families.setdefault((row.vectors.kind, row.target), []).append(place)
    done = list(rows)
    for places in families.values():
        known = [rows[place].tcav for place in places]
        adjusted = holm([float("nan") if one is None else one.p_larger for one in known])
        for place, p in zip(places, adjusted, strict=True):
            done[place] = Row(**{**vars(rows[place]), "p_holm": p})
    return done
