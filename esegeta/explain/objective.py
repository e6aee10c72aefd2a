"""What every method explains: one number of the whole prediction, as a function of the input.

Where the target is linear in the prediction, it is a sum over active windows and nothing else is
ever run. Otherwise the whole volume is predicted at each evaluation. Methods need not know which.

A linear target is `R = sum_t c_t(x_t)` with `c_t(p) = <share_t, net(p)>`, where `share_t` is the
window's part of the cotangent dR/dy. Of any other target that is the first order at this input.
An additive method's map of the whole prediction is the sum of its windows' maps of `c_t`.

Where probabilities are averaged, methods that watch a network while it runs see the same target as
a function of each single pass (`Objective.of_passes`): c_t is of one mirrored pass of one network,
and its share is dR/dz by the pass's logits z, to first order at the input or point that is looked
at.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Logits, Scalars
from esegeta.explain.together import (
    cotangents_together,
    logits_together,
    pull_back_together,
    values_together,
)
from esegeta.model import held_still, is_watched
from esegeta.predict import (
    ApartCotangent,
    ApartShares,
    Cotangent,
    CotangentShares,
    Moment,
    PassesApart,
    Pieces,
    Predictor,
    Pullback,
    RunPass,
    WindowBlend,
    Windows,
    WindowSum,
    active_windows,
)
from esegeta.targets import FrozenTarget, KeptPasses
from esegeta.volume import Volume

AnyCotangent = Cotangent | ApartCotangent
"""dR/dy; with what each pass answers for where it is not a sum over passes."""


@dataclass
class CostTally:
    """What an explanation has cost so far.

    Args:
        evaluations: number of evaluations of the target or of its gradient, each over the whole
            volume.
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
        volume: volume that is explained; its data is the input `x`.
        is_original: whether the input is the very one that the target was frozen on, so that the
            known prediction can serve.
        tally: counts the cost; shared by all objectives that came from one.
        whole: the same objective of the prediction, where this one is of single passes.
    """

    predictor: Predictor
    target: FrozenTarget
    volume: Volume
    is_original: bool = True
    tally: CostTally = field(default_factory=CostTally)
    whole: Objective | None = None

    @classmethod
    def of(cls, predictor: Predictor, target: FrozenTarget, volume: Volume) -> Objective:
        """Return the objective of a frozen target on a volume, perhaps not the one it froze on.

        Args:
            predictor: model to explain.
            target: frozen target.
            volume: image of the same shape as the one that it froze on.
        """
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
        """Return the same objective seen from another input `C *S`.

        Args:
            data: input `C *S`.
        """
        whole = None if self.whole is None else self.whole.at(data)
        volume = self.volume.with_data(data)
        return replace(self, volume=volume, is_original=False, whole=whole)

    def of_passes(self) -> Objective:
        """Return the objective as a function of single passes, where probabilities are averaged.

        It is not linear in them: its shares and slopes hold at one point.
        """
        if not self.predictor.averages_inside:
            return self
        single = PassesApart(self.predictor).single
        target = replace(self.target, coefficients=None)
        return replace(self, predictor=single, target=target, whole=self)

    @cached_property
    def apart(self) -> PassesApart | None:
        """The passes, where probabilities are averaged and this objective is of each of them."""
        return None if self.whole is None else PassesApart(self.whole.predictor)

    def active(self, cotangent: AnyCotangent) -> list[int]:
        """Return the windows that the cotangent at this input touches.

        A linear target's are the same at every input, and known from its mask.

        Args:
            cotangent: dR/dy, `1 L *S`, or its form.
        """
        if self.target.is_linear:
            return self.target.touched(self.windows)
        if not isinstance(cotangent, ApartCotangent):
            return active_windows(self.windows, cotangent)
        windows = self.windows
        # All mirrored passes of a box in turn: the share of each takes what all of them put out.
        found = active_windows(windows, cotangent.slope)
        return sorted(found, key=lambda window: (window % windows.num_places, window))

    @property
    def rolls(self) -> bool:
        """Whether the target's slope is formed slab by slab: it is curved, and y is not held."""
        if self.target.is_linear or self.target.sums is None or self.whole is not None:
            return False
        if self.is_original:
            return not self.target.scene.prediction.is_held
        return not self.predictor.holds(self.windows.shape)

    @property
    def num_active(self) -> int:
        """How many windows the target touches; at most, where its slope is not held."""
        if self.rolls:
            return len(self.target.touched(self.windows))
        return len(self.active(self.cotangent()))

    def cotangent(self) -> AnyCotangent:
        """Return dR/dy at this input: a linear form, `1 L *S`, or that with each pass's share."""
        if self.apart is not None:
            return self.cotangent_of(self.run_pieces)
        return cotangents_together([self])[0]

    def cotangent_of(self, run: RunPass) -> AnyCotangent:
        """Return dR/dy of the prediction that windows of this input make when run like this.

        Args:
            run: how the network is run on windows.
        """
        if self.apart is None:
            return self.target.cotangent(self.predict(run))
        moment = self.moment(run)
        slope = self.target.slope(self.apart.prediction(moment))
        return ApartCotangent(slope, self.apart.shares(slope, moment))

    def shares(self, cotangent: AnyCotangent) -> CotangentShares | ApartShares:
        """Return each window's part of a cotangent.

        Args:
            cotangent: dR/dy, `1 L *S`, or its form.
        """
        if isinstance(cotangent, ApartCotangent):
            return cotangent.shares
        return self.predictor.shares(self.windows, cotangent)

    def moment(self, run: RunPass) -> Moment:
        """Return what all passes output, where the target looks at it.

        Args:
            run: how the network is run on windows.
        """
        assert self.apart is not None
        return self.apart.moment(self.x, run, over=self.target.support)

    def predict(self, run: RunPass) -> Logits:
        """Return the prediction `1 L *S` of windows run like this, where the target looks at it.

        Args:
            run: how the network is run on windows.
        """
        if self.apart is not None:
            return self.apart.prediction(self.moment(run))
        predictor, windows, x = self.predictor, self.windows, self.x
        blend = WindowBlend(windows, x)
        with held_still(predictor.network):
            for pieces in predictor.pieces(x, windows, self.target.touched(windows)):
                blend.add(pieces.windows, run(pieces))
        return blend.result()

    def logits(self) -> Logits:
        """Return the blended prediction at this input, `1 L *S`, where the target looks at it."""
        return logits_together([self])

    def value(self) -> float:
        """Return the target at this input."""
        return values_together([self])[0]

    def values(self, inputs: Batch) -> Scalars:
        """Return the target at each input of a batch `B C *S`.

        Args:
            inputs: images `B C *S` of the volume's shape.
        """
        return torch.tensor([self.at(data).value() for data in inputs], dtype=torch.float64)

    @property
    def kept(self) -> KeptPasses | None:
        """What other methods' passes gave at this input, where it is kept: in a run, by case."""
        scene, predictor = self.target.scene, self.predictor
        if scene.kept is None or not self.is_original or scene.predictor is not predictor:
            return None
        # What an average over networks holds changes from window to window.
        if not predictor.is_sum or predictor.states or is_watched(predictor.network):
            return None
        tensors = itertools.chain(predictor.network.parameters(), predictor.network.buffers())
        state = tuple((id(one), one._version) for one in (*tensors, self.volume.data))
        return scene.kept.of(state)

    def count(self, num_windows: int) -> None:
        """Count windows that another method has run for this one.

        Args:
            num_windows: how many.
        """
        self.tally.windows_run += num_windows
        if self.predictor.on_windows is not None:
            self.predictor.on_windows(num_windows)

    def run(self, crops: Tensor) -> Logits:
        """Run the network on windows `N C *W`, and count them.

        Args:
            crops: windows `N C *W`.
        """
        self.tally.windows_run += len(crops)
        return self.predictor.run(crops, self.windows)

    def run_pieces(self, pieces: Pieces) -> Logits:
        """Run windows as they are.

        Args:
            pieces: windows and their places.
        """
        return self.run(pieces.crops)

    def pull_back(self) -> Pullback:
        """Return the gradient of the target by the input, and the target where it is linear."""
        return pull_back_together([self])[0]

    def gradient(self) -> Tensor:
        """Return the gradient of the target by the input, `C *S`."""
        return self.pull_back().gradient[0]


WindowMap = Callable[[Pieces, Tensor], Tensor]
"""From windows and their shares `N L *W` to each window's own map of `c_t`, `N A *W`."""


def sum_over_windows(
    objective: Objective,
    window_map: WindowMap,
    *,
    num_channels: int | None = None,
    cotangent: AnyCotangent | None = None,
) -> Float[Tensor, "A *S"]:
    """Return the sum of the maps of all active windows, each put in its place, `A *S`.

    Args:
        objective: what is explained. Its network is held still meanwhile; run windows with
            `objective.run`, which counts them.
        window_map: the method on a few windows at a time; must be linear in the shares.
        num_channels: A; the input channels by default.
        cotangent: dR/dy; that at the objective's input by default.
    """
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    cotangent = objective.cotangent() if cotangent is None else cotangent
    shares = objective.shares(cotangent)
    channels = x.shape[1] if num_channels is None else num_channels
    total = WindowSum(windows, x, num_channels=channels)
    objective.tally.evaluations += 1
    with held_still(predictor.network):
        for pieces in predictor.pieces(x, windows, objective.active(cotangent)):
            maps = window_map(pieces, shares.of(pieces, pieces.crops.device))
            total.add(pieces.windows, maps)
    return total.result()[0].mul_(shares.scale).contiguous()
