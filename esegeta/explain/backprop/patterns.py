"""PatternNet and PatternAttribution: signals, not weights, are sent back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.errors import MapError, ModelError
from esegeta.explain.backprop.operations import LinearCall, along
from esegeta.explain.backprop.pattern_fit import Patterns, fit_patterns
from esegeta.explain.backprop.propagation import Propagation, scale_of
from esegeta.explain.backprop.relevance import LayerCarrier
from esegeta.explain.backprop.rule_set import Rules, SumCall
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRIBUTION, SIGNAL, Meaning
from esegeta.explain.objective import Objective, WindowMap, sum_over_windows
from esegeta.predict import Pieces


@dataclass(frozen=True)
class PatternNet(Explainer):
    """The signal that the target responds to: patterns are propagated back in place of weights.

        s = sum_t backward(y_t dR/dy_t),   each weight w replaced by its pattern a

    Activations, pooling, resampling and products send back their gradient; sums split by
    cov(term, sum) / var(sum); norms are folded. Positive: a brighter voxel is part of the signal.
    Unit: input units, summed over the target's logits. Every operation adds up the signals of all
    its outputs, so that deep networks blow the map up: a warning, and an error beyond float32. Each
    network of an ensemble has patterns of its own.

    Args:
        patterns: a file that a run or `Patterns.save` wrote; fitted on all cases of a run, or on
            the explained volume, by default.
        fitted: the patterns themselves; filled in by the run.

    Source: Kindermans et al., Learning How to Explain Neural Networks, 2018, section 4 and
    equation 6 (two-component estimator); layers that give the logits take all positions.
    """

    patterns: str | None = None
    fitted: Patterns | None = field(default=None, repr=False, compare=False)

    name: ClassVar[str] = "pattern_net"
    traits: ClassVar[Traits] = Traits("backprop", needs_hooks=True)
    meaning: ClassVar[Meaning] = SIGNAL
    zero_hint: ClassVar[str] = (
        "on these volumes no operation's output varies with its input where it is active"
    )

    @property
    def cost(self) -> Cost:
        """A forward and backward pass; as many over all windows for a fit."""
        fit = Cost.of(1, 5, over="all", per="fit of patterns")
        known = self.fitted is not None or self.patterns is not None
        return Cost.of(1, 1) if known else Cost.of(1, 1) + fit

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, and what the patterns were fitted on."""
        known = self._known(objective)
        maps: dict[int, WindowMap] = {}
        start = _PatternStart()

        def window_map(pieces: Pieces, share: Tensor) -> Tensor:
            if pieces.member not in maps:  # each network of an ensemble has patterns of its own
                rules = self.rules(known.of_member(pieces.member))
                propagation = Propagation(rules, start, LayerCarrier)
                maps[pieces.member] = propagation.window_map(objective)
            return maps[pieces.member](pieces, share)

        data = sum_over_windows(objective, window_map)
        self._require_finite(data, known)
        own = known.fitted_on == (objective.volume.name,)
        words = "the explained volume itself" if own else ", ".join(known.fitted_on)
        start = start.times(scale_of(objective))
        return RawMap(
            data, more={"patterns_fitted_on": words}, warnings=self.blown_up(objective, data, start)
        )

    def _require_finite(self, data: Tensor, known: Patterns) -> None:
        finite = all(bool(pattern.isfinite().all()) for pattern in known.values.values())
        if finite and not bool(data.isfinite().all()):
            raise MapError(
                f"{self.name}: the map exceeds what float32 holds: each of the network's "
                f"{len(known.values)} operations adds up the signals of all its outputs, and "
                "nothing divides them",
                hint="use pattern_attribution, whose weights times patterns add up to one, or "
                "a target with `of: unit` nearer to the image",
            )

    def blown_up(self, objective: Objective, data: Tensor, start: _PatternStart) -> tuple[str, ...]:
        """Return a warning where the map holds more than images of the given range can.

        Args:
            objective: what is explained.
            data: map `C *S`.
            start: what was passed back from the output.
        """
        image = objective.volume.data
        span = float(image.max() - image.min())
        most, found = start.weight * span, float(data.abs().max())
        if found <= most:
            return ()
        return (
            f"magnitude: the map reaches {found:.3g}, and the signals of the target's logits, "
            f"in an image that spans {span:.3g}, cannot exceed {most:.3g} together: each operation "
            "adds up the signals of all its outputs, and a deep network does so many times; only "
            "the map's pattern can be read, not its size",
        )

    def unlearned(self) -> PatternNet:
        """Return the method without patterns: it fits them on what it explains."""
        return replace(self, patterns=None, fitted=None)

    def rules(self, patterns: Patterns) -> Rules:
        """Return what takes the place of each weight.

        Args:
            patterns: patterns of each layer, learned from cases.
        """
        return PatternRules(patterns, lambda weight, pattern: pattern, lambda scale: 1 / scale)

    def _known(self, objective: Objective) -> Patterns:
        predictor = objective.predictor
        known = self.fitted
        if known is None and self.patterns is not None:
            known = Patterns.load(self.patterns)
        if known is None:
            objective.tally.windows_run += len(objective.windows)
            return fit_patterns(predictor, [objective.volume])
        known.require_fit(predictor)
        return known


@dataclass(frozen=True)
class PatternAttribution(PatternNet):
    """How much each voxel's signal contributes to the target.

        r = sum_t backward(y_t dR/dy_t),   each weight w replaced by w * a

    Weights times patterns add up to one for each output, so they split what it holds.
    Positive: the voxel's signal raises the target. Unit: target.

    Args:
        patterns: as for `pattern_net`.
        fitted: as for `pattern_net`.

    Source: Kindermans et al., Learning How to Explain Neural Networks, 2018, section 4.
    """

    name: ClassVar[str] = "pattern_attribution"
    traits: ClassVar[Traits] = Traits("backprop", needs_hooks=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION

    def rules(self, patterns: Patterns) -> Rules:
        """Return what takes the place of each weight."""
        return PatternRules(patterns, lambda weight, pattern: weight * pattern, torch.ones_like)

    def blown_up(self, objective: Objective, data: Tensor, start: _PatternStart) -> tuple[str, ...]:
        """Return a warning where the map's parts are many times their sum."""
        size = float(data.abs().sum(dtype=torch.float64))
        if size <= MOST_CANCELLING * start.size:
            return ()
        return (
            f"magnitude: the map's values are {size / max(start.size, 1e-30):.3g} times what the "
            "target's logits hold: most of it cancels, since weights times patterns add up to one "
            "with parts of both signs; only the map's pattern can be read, not its size",
        )


MOST_CANCELLING = 10.0
"""How many times the logits a map may hold, all signs counted, before it carries a warning."""


class _PatternStart:
    """Logits begin with themselves times their share of the cotangent; sizes are added up.

    Args:
        weight: the magnitudes of the shares.
        size: the magnitudes of what the logits begin with.
    """

    def __init__(self, weight: float = 0.0, size: float = 0.0) -> None:
        self.weight = weight
        self.size = size

    def __call__(self, logits: Tensor, share: Tensor) -> Tensor:
        """Return the logits times their share."""
        begin = logits * share
        self.weight += float(share.abs().sum(dtype=torch.float64))
        self.size += float(begin.abs().sum(dtype=torch.float64))
        return begin

    def times(self, scale: float) -> _PatternStart:
        """Return the same for shares that are this many times as large."""
        return _PatternStart(self.weight * scale, self.size * scale)


class PatternRules(Rules):
    """Sends back through something other than the weights.

    Args:
        patterns: patterns of all operations.
        instead: function from a weight and its pattern to what takes the weight's place.
        behind: function from the scale of a frozen norm to what takes the scale's place.
    """

    def __init__(
        self,
        patterns: Patterns,
        instead: Callable[[Tensor | float, Tensor], Tensor],
        behind: Callable[[Tensor], Tensor],
    ) -> None:
        self.patterns = patterns
        self.instead = instead
        self.behind = behind

    def linear(self, call: LinearCall, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the vector-Jacobian product of the operation with another weight."""
        if call.scale is not None:
            relevance = relevance * self.behind(call.scale)
        if call.kind == "scaling":  # one input an output, whose pattern is 1 / w
            inverse = torch.where(call.weight == 0, 0.0, 1 / call.weight)
            result = relevance * self.instead(call.weight, inverse)
            return result.sum_to_size(x.shape)
        pattern = self._find(f"linear.{call.place.index}", call.weight)
        weight = self.instead(call.weight, pattern)
        with torch.enable_grad():
            inputs = torch.zeros_like(x).requires_grad_(True)
            outputs = call.outputs(inputs, weight)
        (result,) = torch.autograd.grad(outputs, inputs, relevance)
        return result

    def total(self, call: SumCall, relevance: Tensor) -> Sequence[Tensor | None]:
        """Return each term's part, channel by channel; a constant has no signal."""
        if all(call.tracked):
            found = self._find(f"sum.{call.place.index}", relevance)
            shares = [along(share, relevance, 1) for share in found]
        else:
            shares = [torch.full((), float(one)).to(relevance) for one in call.tracked]
        pairs = zip(call.weights, shares, strict=True)
        return [relevance * self.instead(weight, share / weight) for weight, share in pairs]

    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Linear maps send back their gradient; nothing asks for another rule."""
        raise NotImplementedError

    def _find(self, key: str, like: Tensor) -> Tensor:
        found = self.patterns.values.get(key)
        fits = found is not None and (key.startswith("sum") or found.shape == like.shape)
        if found is None or not fits:
            raise ModelError(
                f"the patterns hold no operation {key} of this shape",
                hint="leave `patterns` out to fit them again",
            )
        return found.to(like)
