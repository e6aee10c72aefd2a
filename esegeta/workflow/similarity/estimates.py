"""From what is kept of the cases to how alike layers are: values, intervals and chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.similarity import (
    CKA,
    CKA_RBF,
    CORRELATIONS,
    KERNELS,
    LEAST_CASES,
    LEAST_POSITIONS,
    LINEAR,
    CaseGrams,
    Moments,
    Paired,
    UnitLayout,
    biased_linear_cka,
    copies_of_cases,
    gram_cka,
    hollow,
    interval,
    merged,
    orders_of_cases,
    paired_gram_cka,
    paired_rows,
    resampled,
    share_reaching,
)
from esegeta.workflow.similarity.sample import kept_moments, kept_sample
from esegeta.workflow.similarity.session import SimilaritySession

DRAWS = 200
"""Bootstrap samples of cases, and random orders of them."""
FEWER_DRAWS = 50
"""The same for measures that take a decomposition per pair of layers, or pairs of positions."""
ROOM_MB = 256
"""Memory for bootstrap samples that are added up side by side."""

LayerTable = Float[Tensor, "L L"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """How alike all pairs of layers are by one measure, over one label or all.

    Args:
        value: value over all positions for linear measures, over the matched ones for others.
        low: lower end of the interval over cases; None where none was made.
        high: upper end.
        null: mean over random orders of cases, at the matched positions; None where none was made.
        p: share of these that reach the value of the matched positions.
        biased: value that other tools give; for linear CKA only.
    """

    value: LayerTable
    low: LayerTable | None = None
    high: LayerTable | None = None
    null: LayerTable | None = None
    p: LayerTable | None = None
    biased: LayerTable | None = None


@dataclass(frozen=True, eq=False)
class Matched:
    """The matched positions of all cases.

    Args:
        data: activations of all layers.
        case: number of the case of each position.
        stratum: number of the label of each position.
        voxel: place of each position in the flattened image.
    """

    data: Float[Tensor, "N D"]
    case: Int[Tensor, " N"]
    stratum: Int[Tensor, " N"]
    voxel: Int[Tensor, " N"]

    @classmethod
    def read(cls, session: SimilaritySession) -> Matched:
        """Read the matched positions of all cases."""
        parts = [kept_sample(session, number) for number in range(len(session.comparison.cases))]
        slabs = session.comparison.slabs
        groups = [number * slabs + part.slabs for number, part in enumerate(parts)]
        return cls(
            torch.cat([part.data for part in parts]),
            torch.cat(groups),
            torch.cat([part.strata for part in parts]),
            torch.cat([part.voxels for part in parts]),
        )

    def of(self, strata: Sequence[int]) -> Matched:
        """Return the positions of some labels."""
        own = torch.isin(self.stratum, torch.tensor(strata))
        return Matched(self.data[own], self.case[own], self.stratum[own], self.voxel[own])


@dataclass(frozen=True, eq=False)
class Estimator:
    """Estimates of all measures over some labels together.

    Args:
        session: session with the cases.
        matched: positions of these labels.
        strata: numbers of the labels.
    """

    session: SimilaritySession
    matched: Matched
    strata: tuple[int, ...]

    @property
    def layout(self) -> UnitLayout:
        """The layout of the units of all layers."""
        return self.session.comparison.layout

    @property
    def num_cases(self) -> int:
        """Number of cases, or of their slabs."""
        return len(self.session.comparison.groups)

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.session.comparison.basis.config.keys.seed

    def parts(self) -> Iterator[Moments]:
        """Yield the sums of each case; of no position where it holds none of the labels."""
        for number in range(self.num_cases):
            own = list(kept_moments(self.session, number, self.strata))
            yield merged(own) if own else Moments.nothing(self.layout)

    def estimates(
        self, methods: Sequence[str], *, drawn: Sequence[str], paired: Sequence[str]
    ) -> tuple[dict[str, Estimate], Moments]:
        """Return an estimate by each measure, and the sums of all cases.

        Args:
            methods: names of measures.
            drawn: those of them for which cases are drawn again, for an interval.
            paired: those for which cases are paired again, for chance.
        """
        whole = merged(self.parts())
        linear = [name for name in methods if name in LINEAR]
        kernels = [name for name in methods if name in KERNELS]
        grams = {name: KERNELS[name](self.matched.data, self.layout) for name in kernels}
        values = {name: LINEAR[name](whole) for name in linear}
        values |= {name: gram_cka(own) for name, own in grams.items() if name not in values}
        enough = self.num_cases >= LEAST_CASES
        asked = [name for name in values if enough]
        spread = self._spread([name for name in asked if name in drawn], grams)
        chance = self._chance([name for name in asked if name in paired], grams)
        biased = {CKA: biased_linear_cka(whole)} if CKA in values else {}
        found = {}
        for name, value in values.items():
            low, high = spread.get(name, (None, None))
            null, p = chance.get(name, (None, None))
            found[name] = Estimate(value, low, high, null, p, biased.get(name))
        return found, whole

    def _spread(
        self, methods: Sequence[str], grams: Mapping[str, Tensor]
    ) -> dict[str, tuple[LayerTable, LayerTable]]:
        """Return the intervals over cases that are drawn with replacement."""
        copies = copies_of_cases(self.num_cases, DRAWS, self.seed)
        correlated = [name for name in methods if name in CORRELATIONS]
        found: dict[str, list[Tensor]] = {name: [] for name in methods}
        if any(name in LINEAR for name in methods):
            for number, sums in enumerate(resampled(self.parts, copies, room_mb=ROOM_MB)):
                some = correlated if number < FEWER_DRAWS else []
                for name in [*some, *([CKA] if CKA in methods else [])]:
                    found[name].append(LINEAR[name](sums))
        for name in methods:
            if name not in LINEAR:
                own = CaseGrams.of(grams[name], self.matched.case, self.num_cases)
                found[name] = [own.cka(row) for row in copies]
        return {name: interval(torch.stack(values)) for name, values in found.items()}

    def _chance(
        self, methods: Sequence[str], grams: Mapping[str, Tensor]
    ) -> dict[str, tuple[LayerTable, LayerTable]]:
        """Return mean and p under random orders of cases, at the matched positions."""
        matched, layout = self.matched, self.layout
        if not methods or len(matched.case) < LEAST_POSITIONS:
            return {}
        slow = [name for name in methods if name != CKA]
        emptied = hollow(grams[CKA_RBF]) if CKA_RBF in methods else None

        def paired(left: Tensor, right: Tensor, some: Sequence[str]) -> dict[str, LayerTable]:
            sides = Paired(matched.data[left], matched.data[right], layout)
            values = {CKA: sides.cka} if CKA in methods else {}
            if CKA_RBF in some and emptied is not None:
                values[CKA_RBF] = paired_gram_cka(emptied, left, right)
            return values | {name: sides.correlation(name) for name in some if name in CORRELATIONS}

        rows = torch.arange(len(matched.case))
        observed = paired(rows, rows, slow)
        null: dict[str, list[Tensor]] = {name: [] for name in observed}
        for number, order in enumerate(orders_of_cases(self.num_cases, DRAWS, self.seed)):
            left, right = paired_rows(matched.case, matched.stratum, order)
            some = slow if number < FEWER_DRAWS else []
            for name, value in paired(left, right, some).items():
                null[name].append(value)
        stacked = {name: torch.stack(values) for name, values in null.items()}
        return {
            name: (values.nanmean(dim=0), share_reaching(observed[name], values))
            for name, values in stacked.items()
        }
