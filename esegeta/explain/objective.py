"""What every method explains: one number of the whole prediction, as a function of the input.

Where the target is linear in the prediction, it is a sum over active windows and nothing else is
ever run. Otherwise the whole volume is predicted at each evaluation. Methods need not know which.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from esegeta.axes import Batch, Logits, Scalars
from esegeta.predict import Predictor, Pullback, Windows, active_windows
from esegeta.target import FrozenTarget
from esegeta.volume import Volume


@dataclass
class Tally:
    """What an explanation has cost so far.

    Args:
        evaluations: of the target or of its gradient, each over the whole volume.
        windows_run: windows that went through the network, once a forward pass.
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
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def of(cls, predictor: Predictor, target: FrozenTarget, volume: Volume) -> Objective:
        """Return the objective of a frozen target on a volume, perhaps not the one it froze on."""
        scene = target.scene
        # A target inside the network reads a prediction that ends at its layer.
        predictor = scene.predictor_for(predictor)
        is_original = scene.predictor is predictor and scene.volume.data is volume.data
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

    def active(self, cotangent: Logits) -> list[int]:
        """Return the windows that the cotangent at this input touches.

        A linear target's are the same at every input, and known from its mask.
        """
        if self.target.is_linear:
            return self.target.touched(self.windows)
        return active_windows(self.windows, cotangent)

    def cotangent(self) -> Logits:
        """Return dR/dy at this input, `1 L *S`."""
        return self.target.cotangent(None if self.target.is_linear else self.logits())

    def logits(self) -> Logits:
        """Return the blended prediction at this input, `1 L *S`, where the target looks at it."""
        if self.is_original:
            return self.target.scene.logits
        self.tally.windows_run += len(self.target.touched(self.windows))
        return self.predictor.predict(self.x, over=self.target.support)

    def value(self) -> float:
        """Return the target at this input."""
        self.tally.evaluations += 1
        if self.target.is_linear:
            cotangent = self.cotangent()
            active = self.active(cotangent)
            self.tally.windows_run += len(active)
            values = self.predictor.contributions(self.x, cotangent, active)
            return float(values.sum())
        return float(self.target.value(self.logits())[0])

    def values(self, inputs: Batch) -> Scalars:
        """Return the target at each input of a batch `B C *S`."""
        return torch.tensor([self.at(data).value() for data in inputs], dtype=torch.float64)

    def run(self, crops: Tensor) -> Logits:
        """Run the network on windows `N C *W`, and count them."""
        self.tally.windows_run += len(crops)
        return self.predictor.run(crops, self.windows)

    def pull_back(self) -> Pullback:
        """Return the gradient of the target by the input, and the target where it is linear."""
        cotangent = self.cotangent()
        active = self.active(cotangent)
        result = self.predictor.pull_back(self.x, cotangent, active=active)
        self.tally.evaluations += 1
        self.tally.windows_run += result.num_active
        return result

    def gradient(self) -> Tensor:
        """Return the gradient of the target by the input, `C *S`."""
        return self.pull_back().gradient[0]
