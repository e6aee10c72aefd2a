"""Chance in one case, for the units of one layer."""

from __future__ import annotations

from esegeta.dissection.above import Above
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import Chance, Overlaps
from esegeta.dissection.tally import ConceptParts


def overlaps(
    null: Chance, above: Above, partition: ConceptParts, num_units: int, space: CaseSpace
) -> Overlaps:
    case = null.of_case(partition, space)
    case.add(above, num_units, (1.0,) * len(space.shape))
    return case.overlaps()
