"""Guided backpropagation and deconvolution: only what speaks for a unit goes on to its inputs.

Each window has activations of its own, so the blended prediction is one graph in which every
window is a branch from its share of dR/dy down to its own voxels. Nothing is clamped at the
voxels, where the branches meet: the map is the sum of the windows' own maps. In a window the
rule is not linear in the share (it clamps), but scales with it, as a precision's scale needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from esegeta.errors import MapError
from esegeta.explain.backprop.calls import ACTIVATIONS, Call, Intercept, Resolved, resolve, spelled
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import DRAWN_PATTERN, GUIDED_SLOPE, Meaning
from esegeta.explain.objective import Objective, sum_over_windows
from esegeta.predict import Pieces, require_graph

Notify = Callable[[], None]
"""Called when a gradient passes back through an activation."""

Activate = Callable[[Resolved, Notify], Tensor]


NOTHING_POSITIVE = "nothing positive reaches the input; saliency keeps both signs"
"""Why a map of positive gradients may be zero everywhere."""


@dataclass(frozen=True)
class GuidedBackprop(Explainer):
    """The gradient, with only positive gradients passing back through each activation.

        g_in = f'(z) * max(g_out, 0)   at every activation f, on its way from dR/dy to the voxels

    Positive: a brighter voxel raises the target through units that raise it. Negative coefficients
    of the target start as they are; only activations clamp. Unit: target per unit of network input.

    Captum guides only `nn.ReLU` modules, and gives the plain gradient on any other network. Here an
    activation is any of ReLU, LeakyReLU, PReLU, ELU, GELU, SiLU, sigmoid and their kin, as a module
    or a function; one inside a fused function of torch keeps its gradient. A network without
    any is refused.

    Source: Springenberg et al., Striving for Simplicity, 2015, section 3.4; for ReLU just that. We
    clamp what arrives and keep each activation's own derivative, which may be negative (GELU).
    """

    name: ClassVar[str] = "guided_backprop"
    traits: ClassVar[Traits] = Traits("backprop", additive=True, needs_hooks=True)
    meaning: ClassVar[Meaning] = GUIDED_SLOPE
    zero_hint: ClassVar[str] = NOTHING_POSITIVE

    @property
    def cost(self) -> Cost:
        """One forward and one backward pass."""
        return Cost.of(1, 1)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the guided gradient and which activations it passed."""
        return _backpropagate(objective, _guide, self.name)


@dataclass(frozen=True)
class Deconvolution(Explainer):
    """The gradient, with positive gradients passing back through activations whatever their input.

        g_in = max(g_out, 0)   at every activation, on its way from dR/dy to the voxels

    Positive: the pattern that the network's filters draw for the target is bright here. It depends
    on the image only through max pooling and data-dependent norms. Unit: target per unit of
    network input. The activations are those of `guided_backprop`, each with a slope of one.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014,
    section 2.1; they rectify at ReLU, and we do so at all activations.
    """

    name: ClassVar[str] = "deconvolution"
    traits: ClassVar[Traits] = Traits("backprop", additive=True, needs_hooks=True)
    meaning: ClassVar[Meaning] = DRAWN_PATTERN
    zero_hint: ClassVar[str] = NOTHING_POSITIVE

    @property
    def cost(self) -> Cost:
        """One forward and one backward pass."""
        return Cost.of(1, 1)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map and which activations it passed."""
        return _backpropagate(objective, _unmask, self.name)


def _backpropagate(objective: Objective, activate: Activate, name: str) -> RawMap:
    """Return the sum over windows of what comes back through other activations.

    Args:
        objective: objective that is explained.
        activate: function from the call of an activation to its output.
        name: name of the method.

    Raises:
        MapError: the network ran, and no activation lay between input and target.
    """
    guided: set[str] = set()
    met: set[str] = set()
    has_run: list[bool] = []

    def rule(function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = resolve(function, args, kwargs)
        if not call.is_on_path:
            return function(*args, **kwargs)
        called = function.__name__.strip("_")
        return call.finish(activate(call, lambda: guided.add(called)))

    def otherwise(function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        if isinstance(result, Tensor) and result.requires_grad:
            met.add(function.__name__.strip("_"))
        return result

    def window_map(pieces: Pieces, share: Tensor) -> Tensor:
        has_run.append(True)
        crops = pieces.crops.requires_grad_(True)
        # Backward within as well: what a network runs again to save memory follows the same rules.
        with Intercept(spelled(ACTIVATIONS, rule), otherwise):
            with torch.enable_grad():
                logits = objective.run(crops)
            require_graph(logits)
            (slope,) = torch.autograd.grad(logits, crops, share.to(logits.dtype))
        return slope

    data = sum_over_windows(objective, window_map)
    if has_run and not guided:
        raise MapError(
            f"{name}: no activation was found between input and target, so nothing would be "
            f"guided; calls seen in the network: {', '.join(sorted(met)) or 'none'}",
            hint=f"saliency gives the same map; known activations are {', '.join(ACTIVATIONS)}; "
            "those of compiled programs (TorchScript, torch.export) cannot be seen",
        )
    return RawMap(data, more={"activations": sorted(guided)})


def _guide(call: Resolved, note: Notify) -> Tensor:
    output = call.of(call.input.clone() if call.in_place else call.input)
    return _rectified(output, note)


def _unmask(call: Resolved, note: Notify) -> Tensor:
    output: Tensor = _SlopeOne.apply(call.input, call)  # type: ignore[no-untyped-call]
    return _rectified(output, note)


def _rectified(output: Tensor, note: Notify) -> Tensor:
    def clamp(slope: Tensor) -> Tensor:
        note()
        return slope.clamp(min=0)

    # Not a function of its own around the output: its result would be a view, which a network
    # could not add to in place. A hook keeps to the values that the tensor has now.
    output.register_hook(clamp)  # type: ignore[no-untyped-call]
    return output


class _SlopeOne(torch.autograd.Function):
    """An activation whose derivative is one."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, call: Resolved) -> Tensor:
        return call.of(source)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope, None
