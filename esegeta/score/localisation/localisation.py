"""Where a map points: pointing game, AUROC, relevance mass and rank against a structure."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Bool, Float64, Shaped
from torch import Tensor

from esegeta.axes import Image, Mask
from esegeta.errors import ConfigError
from esegeta.explain import Attribution
from esegeta.score.score import Judgement, Metric, Score, ScoreContext
from esegeta.score.similarity import average_ranks
from esegeta.targets import FrozenTarget, Labelled, Predicted, distance_to
from esegeta.volume import Grid


class UndefinedError(Exception):
    """A score has no value here; it becomes a NaN with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


TOUCHES_MM = 1e-6
"""A distance may be too long by this much from rounding."""


def signed_distance(structure: Mask, grid: Grid) -> Float64[Tensor, "*S"]:
    """Return the distance to the nearest voxel on the other side, in mm, negative inside.

    Between voxels' centres: outside to the nearest voxel of the structure, inside to the nearest
    one beyond it. No voxel is at 0.

    Raises:
        UndefinedError: the grid's axes are not at right angles.
    """
    if not grid.is_rectangular:
        raise UndefinedError(
            "the axes of the grid are not at right angles, as distances in mm require"
        )
    return distance_to(structure, grid.spacing_mm) - distance_to(~structure, grid.spacing_mm)


Against = Literal["prediction", "label", "target"]
Use = Literal["positive", "magnitude"]

Relevance = Float64[Tensor, " N"]
"""How much of the map each voxel that counts holds, at least 0."""


@dataclass(frozen=True, eq=False)
class Structure:
    """The structure that a map is compared with.

    Args:
        mask: its voxels, `*S`.
        known: the voxels that count, `*S`: all but padding and those that the ground truth
            ignores; None where all do.
    """

    mask: Mask
    known: Mask | None = None

    def of_known(self, values: Shaped[Tensor, "*S"]) -> Shaped[Tensor, " N"]:
        """Return the values of the voxels that count, in one line."""
        return values.flatten() if self.known is None else values[self.known]

    @property
    def inside(self) -> Bool[Tensor, " N"]:
        """Which of the voxels that count are the structure's."""
        return self.of_known(self.mask)


@dataclass(frozen=True)
class Localisation(Score):
    """A score that compares the map with a structure.

    Args:
        against: `prediction`, the voxels predicted as the target's label; `label`, those that the
            ground truth gives to it; `target`, the mask that the target is formed over.
        use: `positive` values of the map, negative ones counting as zero, or its `magnitude`;
            both of the sum over channels.
    """

    against: Against = "prediction"
    use: Use = "positive"

    family: ClassVar[str] = "localisation"

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the values; NaN where there is no structure, no outside, or nothing to place."""
        try:
            return self.place(attribution, self.structure(attribution), context)
        except UndefinedError as undefined:
            return self.undefined(undefined.reason)

    @abstractmethod
    def place(
        self, attribution: Attribution, structure: Structure, context: ScoreContext
    ) -> Judgement:
        """Return the values for a structure that has an inside and an outside.

        Args:
            attribution: map to judge.
            structure: voxels, `*S`, where it should lie.
            context: what else a score may look at.

        Raises:
            UndefinedError: there are none; the message says why.
        """

    def structure(self, attribution: Attribution) -> Structure:
        """Return the voxels that the map is compared with, on the map's device.

        Raises:
            UndefinedError: there are none, or nothing lies outside of them.
        """
        found, words = _voxels(attribution.target, self.against)
        if not bool(found.mask.any()):
            raise UndefinedError(f"{words} holds no voxel")
        if bool(found.inside.all()):
            raise UndefinedError(f"{words} holds every voxel: nothing lies outside")
        device = attribution.data.device
        return Structure(
            found.mask.to(device), None if found.known is None else found.known.to(device)
        )

    def relevance(self, data: Image, structure: Structure) -> Relevance:
        """Return what counts of a map `A *S`, summed over its channels.

        Raises:
            UndefinedError: nothing of the map counts.
        """
        total = structure.of_known(data.double().sum(dim=0))
        found = total.abs() if self.use == "magnitude" else total.clamp(min=0)
        if not bool(found.any()):
            none = "no positive value" if self.use == "positive" else "no value other than zero"
            raise UndefinedError(f"the map, summed over channels, has {none}")
        return found

    def distance_mm(
        self, attribution: Attribution, structure: Structure, context: ScoreContext
    ) -> Float64[Tensor, " N"]:
        """Return the signed distance of the voxels that count to the structure's surface.

        Distances are computed once per target.

        Raises:
            UndefinedError: the grid's axes are not at right angles.
        """
        grid = attribution.volume.grid
        key = ("signed_distance", attribution.target, self.against)
        found = context.cache.once(key, lambda: signed_distance(structure.mask, grid))
        return structure.of_known(found)


def _voxels(target: FrozenTarget, against: Against) -> tuple[Structure, str]:
    """Return a structure and its name."""
    if against == "target":
        return Structure(target.mask, target.scene.volume.inside), "the target's mask"
    scene, label = target.scene, target.label
    if label is None:
        raise UndefinedError("the target is not about one label; `against: target` needs none")
    if against == "prediction":
        mask = Predicted().mask(scene, None, label)
        return Structure(mask, scene.volume.inside), f'the prediction of "{label}"'
    if scene.truth is None:
        raise UndefinedError("the case has no ground truth")
    ignores = scene.labels.ignore_label is not None
    known = scene.valid("against: label") if ignores else scene.volume.inside
    mask = Labelled().mask(scene, None, label)
    return Structure(mask, known), f'the ground truth of "{label}"'


@dataclass(frozen=True)
class PointingGame(Localisation):
    """Whether the voxel of highest relevance lies in a structure, or near enough to it.

        pointing_game = 1 if d(argmax r, M) <= within_mm else 0,   r = max(a, 0)

    a is summed over channels. 1 is a hit, 0 a miss; the mean over cases is the accuracy. If
    several voxels have the maximum, the value is the share of them that hit.

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, or `magnitude`, r = |a|.
        within_mm: tolerance in mm, between voxels' centres.

    Source: Zhang et al., Top-Down Neural Attention by Excitation Backprop, IJCV 2018, the pointing
    game; there the tolerance is 15 pixels, and ties are not mentioned.
    """

    within_mm: float = 0.0

    name: ClassVar[str] = "pointing_game"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("pointing_game", "higher", high=1.0),)

    def __post_init__(self) -> None:
        if self.within_mm < 0:
            raise ConfigError(f"pointing_game: within_mm: {self.within_mm:g} must be 0 or more")

    def place(
        self, attribution: Attribution, structure: Structure, context: ScoreContext
    ) -> Judgement:
        """Return the share of the maxima that hit."""
        relevance = self.relevance(attribution.data, structure)
        hits = structure.inside
        if self.within_mm > 0:
            distance = self.distance_mm(attribution, structure, context)
            hits = distance <= self.within_mm + TOUCHES_MM
            if bool(hits.all()):
                raise UndefinedError(f"every voxel lies within {self.within_mm:g} mm")
        maxima = hits[relevance == relevance.max()]
        return Judgement({self.name: float(maxima.double().mean())})


@dataclass(frozen=True)
class Auroc(Localisation):
    """The probability that a voxel inside a structure has a higher relevance than one outside.

        auroc = (sum of the ranks of r in M - K (K + 1) / 2) / (K (N - K)),   r = max(a, 0)

    a is summed over channels, K of N voxels are in M. 0 to 1, higher is better, 1/2 is chance;
    a tie counts half (Mann-Whitney).

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, negative ones tied at zero, or `magnitude`, r = |a|.

    Source: Mann and Whitney, On a Test of Whether one of Two Random Variables is Stochastically
    Larger than the Other, 1947; of saliency maps, Judd et al., 2012, without sampling thresholds.
    """

    name: ClassVar[str] = "auroc"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("auroc", "higher", high=1.0),)

    def place(
        self, attribution: Attribution, structure: Structure, context: ScoreContext
    ) -> Judgement:
        """Return the area."""
        ranks = average_ranks(self.relevance(attribution.data, structure))
        inside = int(structure.inside.sum())
        outside = structure.inside.numel() - inside
        surplus = float(ranks[structure.inside].sum()) - inside * (inside + 1) / 2
        return Judgement({self.name: surplus / (inside * outside)})


@dataclass(frozen=True)
class RelevanceMass(Localisation):
    """The share of the map's relevance that lies inside a structure.

        relevance_mass = sum_{v in M} r_v / sum_v r_v,   r = max(a, 0)

    a is summed over channels, and a feature's value is shared evenly among its voxels. 0 to 1,
    higher is better; an uninformative map gets the structure's share of all voxels.

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, or `magnitude`, r = |a|.

    Source: Arras et al., CLEVR-XAI, 2022, relevance mass accuracy.
    """

    name: ClassVar[str] = "relevance_mass"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("relevance_mass", "higher", high=1.0),)

    def place(
        self, attribution: Attribution, structure: Structure, context: ScoreContext
    ) -> Judgement:
        """Return the share."""
        relevance = self.relevance(attribution.density(), structure)
        mass = float(relevance[structure.inside].sum() / relevance.sum())
        return Judgement({self.name: min(1.0, mass)})


@dataclass(frozen=True)
class RelevanceRank(Localisation):
    """The share of the K voxels of highest relevance that lie inside a structure of K voxels.

        relevance_rank = |top_K(r) and M| / K,   r = max(a, 0)

    a is summed over channels. 0 to 1, higher is better; an uninformative map gets the structure's
    share of all voxels. If voxels tie for the last places, the value is the mean over all ways
    to choose among them.

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, or `magnitude`, r = |a|.

    Source: Arras et al., CLEVR-XAI, 2022, relevance rank accuracy; ties are ours.
    """

    name: ClassVar[str] = "relevance_rank"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("relevance_rank", "higher", high=1.0),)

    def place(
        self, attribution: Attribution, structure: Structure, context: ScoreContext
    ) -> Judgement:
        """Return the share."""
        relevance, inside = self.relevance(attribution.data, structure), structure.inside
        size = int(inside.sum())
        last = relevance.kthvalue(relevance.numel() - size + 1).values
        surely, perhaps = relevance > last, relevance == last
        places_left = size - int(surely.sum())
        expected = places_left * int((perhaps & inside).sum()) / int(perhaps.sum())
        return Judgement({self.name: (int((surely & inside).sum()) + expected) / size})
