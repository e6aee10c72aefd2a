"""What every method explains: one number of the whole prediction, as a function of the input.

Where the target is linear in the prediction, it is a sum over active windows and nothing else is
ever run. Otherwise the whole volume is predicted at each evaluation. Methods need not know which.

A linear target is `R = sum_t c_t(x_t)` with `c_t(p) = <share_t, net(p)>`, where `share_t` is the
window's part of the cotangent dR/dy. Of any other target that is the first order at this input.
An additive method's map of the whole prediction is the sum of its windows' maps of `c_t`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Logits, Scalars
from esegeta.model import held_still
from esegeta.predict import (
    Cotangent,
    Pieces,
    Predictor,
    Pullback,
    Windows,
    WindowSum,
    active_windows,
)
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume


@dataclass
class CostTally:
    """What an explanation has cost so far.

    Args:
        evaluations: of the target or of its gradient, each over the whole volume.
        windows_run: windows that went through the network, once a forward pass; one that went for
            several targets at once counts for each of them.
    """

    evaluations: int = 0
    windows_run: int = 0


@dataclass(frozen=True, eq=False)
class Objective:
    """A frozen target of a predictor, seen from one input.

    Args:
        predictor: the network over windows.
        target: frozen on the unperturbed volume.
        volume: what is explained; its data is the input `x`.
        is_original: whether the input is the very one that the target was frozen on, so that the
            known prediction can serve.
        tally: counts the cost; shared by all objectives that came from one.
    """

    predictor: Predictor
    target: FrozenTarget
    volume: Volume
    is_original: bool = True
    tally: CostTally = field(default_factory=CostTally)

    @classmethod
    def of(cls, predictor: Predictor, target: FrozenTarget, volume: Volume) -> Objective:
        """Return the objective of a frozen target on a volume, perhaps not the one it froze on."""
        scene = target.scene
        # A target inside the network reads a prediction that ends at its layer.
        predictor = scene.predictor_for(predictor)
        is_original = scene.predictor is predictor and scene.volume.data is volume.data
        if not predictor.is_sum:
            # Linear in the prediction, but that is no sum over windows.
            target = replace(target, coefficients=None)
        return cls(predictor, target, volume, is_original)

    @property
    def x(self) -> Batch:
        """The input, `1 C *S`."""
        return self.volume.batch

    @property
    def windows(self) -> Windows:
        """The windows over the volume."""
        return self.predictor.windows(self.x)

    def at(self, data: Tensor) -> Objective:
        """Return the same objective seen from another input `C *S`."""
        return replace(self, volume=self.volume.with_data(data), is_original=False)

    def active(self, cotangent: Cotangent) -> list[int]:
        """Return the windows that the cotangent at this input touches.

        A linear target's are the same at every input, and known from its mask.
        """
        if self.target.is_linear:
            return self.target.touched(self.windows)
        return active_windows(self.windows, cotangent)

    def cotangent(self) -> Cotangent:
        """Return dR/dy at this input: a linear form, or `1 L *S`."""
        return _cotangents_together([self])[0]

    def logits(self) -> Logits:
        """Return the blended prediction at this input, `1 L *S`, where the target looks at it."""
        return _logits_together([self])

    def value(self) -> float:
        """Return the target at this input."""
        return values_together([self])[0]

    def values(self, inputs: Batch) -> Scalars:
        """Return the target at each input of a batch `B C *S`."""
        return torch.tensor([self.at(data).value() for data in inputs], dtype=torch.float64)

    def run(self, crops: Tensor) -> Logits:
        """Run the network on windows `N C *W`, and count them."""
        self.tally.windows_run += len(crops)
        return self.predictor.run(crops, self.windows)

    def pull_back(self) -> Pullback:
        """Return the gradient of the target by the input, and the target where it is linear."""
        return pull_back_together([self])[0]

    def gradient(self) -> Tensor:
        """Return the gradient of the target by the input, `C *S`."""
        return self.pull_back().gradient[0]


def pull_back_together(objectives: Sequence[Objective]) -> list[Pullback]:
    """Return what `pull_back` gives for each target at one input; they share forward passes.

    Each tally counts the windows that its own target needs, as if it had been alone.
    """
    one = objectives[0]
    _require_one_input(objectives)
    cotangents = _cotangents_together(objectives)
    actives = [
        objective.active(cotangent)
        for objective, cotangent in zip(objectives, cotangents, strict=True)
    ]
    results = one.predictor.pull_back_together(one.x, cotangents, actives=actives)
    for objective, result in zip(objectives, results, strict=True):
        objective.tally.evaluations += 1
        objective.tally.windows_run += result.num_run
    return results


def gradients_together(objectives: Sequence[Objective]) -> list[Tensor]:
    """Return the gradient of each target at one input, `C *S`."""
    return [result.gradient[0] for result in pull_back_together(objectives)]


def values_together(objectives: Sequence[Objective]) -> list[float]:
    """Return the value of each target at one input; they share forward passes."""
    _require_one_input(objectives)
    parts = iter(_linear_values([item for item in objectives if item.target.is_linear]))
    curved = [item for item in objectives if not item.target.is_linear]
    logits = _logits_together(curved) if curved else None
    values = []
    for objective in objectives:
        objective.tally.evaluations += 1
        if logits is None or objective.target.is_linear:
            values.append(next(parts))
        else:
            values.append(float(objective.target.value(logits)[0]))
    return values


def _linear_values(objectives: Sequence[Objective]) -> list[float]:
    if not objectives:
        return []
    one = objectives[0]
    cotangents = [objective.cotangent() for objective in objectives]
    actives = [
        objective.active(cotangent)
        for objective, cotangent in zip(objectives, cotangents, strict=True)
    ]
    parts = one.predictor.contributions_together(one.x, cotangents, actives)
    for objective, active in zip(objectives, actives, strict=True):
        objective.tally.windows_run += len(active)
    return [float(values.sum()) for values in parts]


def _cotangents_together(objectives: Sequence[Objective]) -> list[Cotangent]:
    curved = [objective for objective in objectives if not objective.target.is_linear]
    logits = _logits_together(curved) if curved else None
    return [objective.target.cotangent(logits) for objective in objectives]


def _logits_together(objectives: Sequence[Objective]) -> Logits:
    """Return the prediction at one input, wherever any of the targets looks at it."""
    one = objectives[0]
    if one.is_original:
        return one.target.scene.logits
    for objective in objectives:
        objective.tally.windows_run += len(objective.target.touched(objective.windows))
    supports = [objective.target.support for objective in objectives]
    masks = [support for support in supports if support is not None]
    over = None if len(masks) < len(supports) else masks[0]
    for mask in masks[1:]:
        over = None if over is None else over | mask
    return one.predictor.logits(one.x, over=over)


def _require_one_input(objectives: Sequence[Objective]) -> None:
    one = objectives[0]
    for other in objectives[1:]:
        same = other.predictor is one.predictor and other.is_original == one.is_original
        if not same or other.volume.data is not one.volume.data:
            raise ValueError("targets can be explained together only at one and the same input")


WindowMap = Callable[[Pieces, Tensor], Tensor]
"""From windows and their shares `N L *W` to each window's own map of `c_t`, `N A *W`."""


def sum_over_windows(
    objective: Objective,
    window_map: WindowMap,
    *,
    num_channels: int | None = None,
    cotangent: Cotangent | None = None,
) -> Float[Tensor, "A *S"]:
    """Return the sum of the maps of all active windows, each put in its place, `A *S`.

    Args:
        objective: what is explained. Its network is held still meanwhile; run windows with
            `objective.run`, which counts them.
        window_map: the method on a few windows at a time; must be linear in the shares.
        num_channels: A; the input channels by default.
        cotangent: a linear form or `1 L *S`; dR/dy at the objective's input by default.
    """
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    cotangent = objective.cotangent() if cotangent is None else cotangent
    shares = predictor.shares(windows, cotangent)
    channels = x.shape[1] if num_channels is None else num_channels
    total = WindowSum(windows, x, num_channels=channels)
    objective.tally.evaluations += 1
    with held_still(predictor.network):
        for pieces in predictor.pieces(x, windows, objective.active(cotangent)):
            maps = window_map(pieces, shares.of(pieces, pieces.crops.device))
            total.add(pieces.windows, maps)
    return total.result()[0].mul_(shares.scale).contiguous()
