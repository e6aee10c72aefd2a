"""DeepLIFT of the whole prediction: a change from a baseline, shared among the voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image, Logits
from esegeta.errors import ConfigError, MapError
from esegeta.explain.backprop.lift import functions_without_rule, lift
from esegeta.explain.baseline import SAME_AS_BASELINE, Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import AnyCotangent, Objective, sum_over_windows
from esegeta.predict import ApartCotangent, Moment, Pieces, line_nodes, require_graph
from esegeta.targets import FrozenTarget

TARGET_NODES = 32
"""Nodes of the quadrature along the logits, for targets that are not linear in them."""


@dataclass(frozen=True)
class DeepLift(Explainer):
    """The change from a baseline, passed back through secants instead of derivatives.

        a = m * (x - x'),   m_in = m_out * (f(z) - f(z')) / (z - z')   at each nonlinearity f

    Linear layers keep their gradient. Norms of the image's own statistics, products, softmax and
    nonlinear targets pass on their mean gradient on the line from z' to z, which the secant is for
    one variable; a norm that is flat at z' is held at z's deviation. Positive: the voxel, as it
    differs from the baseline, raises the target. Unit: target. The map adds up to R(x) - R(x'); a
    nonlinear function without a rule keeps its gradient, is named and shows in the gap.

    Args:
        baseline: zero, mean, minimum, blur, or an image file.
        tolerance: relative completeness gap above which the map carries a warning.

    Source: Shrikumar et al., Learning Important Features Through Propagating Activation
    Differences, 2017, section 3.5.2 (rescale); max pooling as captum. Captum knows few modules (no
    PReLU, GELU, norms or functions), and none that is used twice.
    """

    baseline: Baseline | str = "blur"
    tolerance: float = 0.05

    name: ClassVar[str] = "deep_lift"
    traits: ClassVar[Traits] = Traits("backprop", additive=True, complete=True, needs_hooks=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = SAME_AS_BASELINE

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> Cost:
        """A pass over the baseline, and one forward and back over the image."""
        return Cost.of(2, 1).at_another_image()

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map and its completeness gap."""
        start = parse_baseline(self.baseline).of(objective.volume)
        return completed(lifted(objective, start), self.tolerance)


@dataclass(frozen=True)
class DeepLiftShap(Explainer):
    """The mean of DeepLIFT's maps over several baselines.

        a = 1/n sum_i deep_lift(x, x'_i)

    An estimate of Shapley values whose absent voxels are drawn from the baselines. Positive: the
    voxel, as it differs from them, raises the target. Unit: target. The map adds up to the mean
    change of the target. Nothing is drawn at random: all baselines are used.

    Args:
        baselines: one for each map: zero, mean, minimum, blur, or an image file.
        tolerance: relative completeness gap above which the map carries a warning.

    Source: Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017, section
    4.2 (Deep SHAP), with the rules of `deep_lift`.
    """

    baselines: tuple[Baseline | str, ...] = ("zero", "mean", "blur")
    tolerance: float = 0.05

    name: ClassVar[str] = "deep_lift_shap"
    traits: ClassVar[Traits] = Traits("backprop", additive=True, complete=True, needs_hooks=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = "is the image equal to its baselines? choose other `baselines`"

    def __post_init__(self) -> None:
        if not self.baselines:
            raise ConfigError("deep_lift_shap: baselines: at least one is needed")
        parsed = tuple(parse_baseline(baseline) for baseline in self.baselines)
        object.__setattr__(self, "baselines", parsed)

    @property
    def cost(self) -> Cost:
        """DeepLIFT's, once a baseline."""
        return len(self.baselines) * Cost.of(2, 1).at_another_image()

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean map and its completeness gap."""
        total, change = torch.zeros_like(objective.volume.data), 0.0
        plain: frozenset[str] = frozenset()
        for baseline in self.baselines:
            found = lifted(objective, parse_baseline(baseline).of(objective.volume))
            total.add_(found.data)
            change += found.change
            plain |= found.plain
        num = len(self.baselines)
        return completed(Lifted(total.div_(num), change / num, plain), self.tolerance)


@dataclass(frozen=True, eq=False)
class Lifted:
    """A map of DeepLIFT.

    Args:
        data: `C *S`.
        change: change of the target from baseline to image.
        plain: names of functions on the way that are not linear and kept their gradient.
    """

    data: Image
    change: float
    plain: frozenset[str]


def lifted(objective: Objective, start: Image) -> Lifted:
    """Return DeepLIFT's map for one baseline `C *S`."""
    cotangent, change = mean_cotangent(objective, start)
    windows = objective.windows
    scale = objective.shares(cotangent).scale
    padded = windows.pad_image(start[None])
    changes: list[float] = []
    plain: set[str] = set()

    def window_map(pieces: Pieces, share: Tensor) -> Tensor:
        crops = pieces.crops.requires_grad_(True)
        baseline = windows.cut(padded, pieces.windows).to(crops.device)
        logits, before = lift(objective.run, crops, baseline)
        require_graph(logits)
        plain.update(functions_without_rule(logits))
        changes.append(gain(before, logits, share) * scale)
        (multiplier,) = torch.autograd.grad(logits, crops, share.to(logits.dtype))
        return multiplier

    multipliers = sum_over_windows(objective, window_map, cotangent=cotangent)
    data = multipliers.mul_(objective.volume.data - start)
    return Lifted(data, sum(changes) if change is None else change, frozenset(plain))


def gain(before: Logits, after: Logits, share: Tensor) -> float:
    """Return by how much the share of some windows changes, `<share, y - y'>`."""
    return float(((after.detach() - before) * share).sum(dtype=torch.float64))


def mean_cotangent(objective: Objective, start: Image) -> tuple[AnyCotangent, float | None]:
    """Return the mean of dR/dy on the line between the predictions of a baseline and the image.

    So that `<m, y - y'> = R(y) - R(y')`; a linear target's is the same anywhere. Where
    probabilities are averaged, the predictions that are averaged each move on a line of their own.

    Returns:
        The cotangent, and the change of the target where the predictions gave it away.
    """
    if objective.target.is_linear:
        return objective.cotangent(), None
    before = objective.at(start)
    if objective.apart is None:
        return _mean_slope(objective.target, before.logits(), objective.logits())
    ends = [one.moment(one.run_pieces) for one in (before, objective)]
    return cotangent_between(objective, *ends)


def cotangent_between(
    objective: Objective, before: Moment, after: Moment
) -> tuple[ApartCotangent, float]:
    """Return the mean of dR/dy from one moment of all passes to another, and the target's change.

    Args:
        objective: objective of single passes.
        before: moment that the passes come from.
        after: moment that they go to.
    """
    assert objective.apart is not None
    ends = [objective.apart.prediction(moment) for moment in (before, after)]
    slope, change = _mean_slope(objective.target, *ends)
    return ApartCotangent(slope, objective.apart.shares(slope, before, after)), change


def _mean_slope(target: FrozenTarget, before: Logits, y: Logits) -> tuple[Logits, float]:
    total = torch.zeros_like(y)
    for node, weight in line_nodes(TARGET_NODES):
        total.add_(target.slope(before.lerp(y, node)), alpha=weight)
    return total, float(target.value(y)[0] - target.value(before)[0])


def completed(found: Lifted, tolerance: float) -> RawMap:
    """Return a map with its completeness gap, and a warning where that is above the tolerance.

    Raises:
        MapError: the target's values overflow.
    """
    data, change = found.data, found.change
    if not math.isfinite(change) and bool(data.isfinite().all()):
        raise MapError(
            f"the target changes by {change} from baseline to image",
            hint="its values overflow; use precision: fp32 or reduce: mean",
        )
    delta = float(data.sum(dtype=torch.float64)) - change
    relative = abs(delta) / max(abs(change), 1e-12)
    warning = (
        f"completeness: the map adds up to {change + delta:.4g}, the target changes by "
        f"{change:.4g} ({relative:.1%} apart, tolerance {tolerance:.1%}); {_reason(found.plain)}"
    )
    warnings = (warning,) if not relative <= tolerance else ()
    more = {"functions_without_rule": sorted(found.plain)} if found.plain else {}
    return RawMap(data, delta, relative, more=more, warnings=warnings)


def _reason(plain: frozenset[str]) -> str:
    if plain:
        return f"without a rule, {', '.join(sorted(plain))} kept its gradient"
    return (
        "every function had a rule: what is left is rounding, quadrature along a line that turns "
        "sharply, or a choice that the network makes by comparing values: use another baseline"
    )
