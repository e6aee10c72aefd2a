"""Slopes of a target by layers, summed over positions; and maps of a layer along one direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Logits
from esegeta.errors import ConfigError, LayerError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.cut import Site, no_part, require_ran, require_units_first, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.meaning import CONTRIBUTION, SCORE, Meaning
from esegeta.explain.objective import Objective
from esegeta.model import held_still, read_once
from esegeta.predict import Pieces, Windows

DIRECTIONAL = replace(
    CONTRIBUTION,
    sign="positive: moving the layer along the concept there raises the target; negative: lowers "
    "it",
    legend="positive: more of the concept there raises the target",
    above=f"more of the concept there raises {SCORE}",
    below="more of it lowers it",
)


@dataclass(frozen=True)
class ConceptDerivative(LayerMethod):
    """The derivative of the target along a direction of a layer's activations, where it arises.

        a_i = sum_k v_k dR/dA_ki,    sum_i a_i = change of R, to first order, for A + v everywhere

    Each window's map is spread over voxels and added up: the map's sum is kept. Unit: the target's.
    A positive value says that moving the layer along v there raises the target.

    Args:
        layer: name of the layer.
        vector: v, one number a unit.
        concept: what the direction stands for, for the record.

    Source: Kim et al., Interpretability beyond feature attribution: TCAV (ICML 2018), equation 1,
    which has no positions.
    """

    vector: tuple[float, ...] = ()
    concept: str = ""

    name: ClassVar[str] = "concept_derivative"
    traits: ClassVar[Traits] = Traits(
        "layer", additive=True, needs_hooks=True, needs_layer=True, by_channel=False
    )
    meaning: ClassVar[Meaning] = DIRECTIONAL
    zero_hint: ClassVar[str] = "nothing that the layer does along the concept moves the target"

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows forward and back."""
        return Cost.of(1, 1)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels.

        Raises:
            ConfigError: the vector has another number of units than the layer.
        """
        total = LayerSum(objective, site)

        def along(pieces: Pieces, shares: Tensor) -> Tensor:
            _, slope = slope_at(objective, site, pieces.crops, shares)
            if slope.shape[1] != len(self.vector):
                raise ConfigError(
                    f'layer "{site.name}" has {slope.shape[1]} units, the vector of '
                    f"{self.concept or 'the concept'} {len(self.vector)}",
                    hint="was it fitted in another layer or network?",
                )
            vector = slope.new_tensor(self.vector)
            return torch.einsum("nk...,k->n...", slope, vector)[:, None]

        total.add_windows(along)
        return total.result()


def layer_slopes(
    objectives: Sequence[Objective], layers: Sequence[str]
) -> list[Mapping[str, Float[Tensor, " K"]]]:
    """Return the gradient of targets by layers, summed over windows and positions, float64.

        G_k = sum_t sum_i dR/dA_t[k, i]

    `<v, G>` is the derivative of R along v at every position of every window. A window goes
    forward once for all layers and targets, and back once for each target.

    Args:
        objectives: targets at one and the same input.
        layers: their names.

    Returns:
        For each target, by the name of the layer.

    Raises:
        LayerError: a layer does not run once, has no spatial output, or nothing depends on it; or
            a target touches no window.
    """
    if any(objective.predictor.averages_inside for objective in objectives):
        # Each pass's share takes what all passes put out, a target at a time.
        return [_sum_slopes([one.of_passes()], layers)[0] for one in objectives]
    return _sum_slopes(objectives, layers)


def _sum_slopes(
    objectives: Sequence[Objective], layers: Sequence[str]
) -> list[Mapping[str, Tensor]]:
    one = objectives[0]
    predictor, windows = one.predictor, one.windows
    cotangents = [objective.cotangent() for objective in objectives]
    shares = [o.shares(cotangent) for o, cotangent in zip(objectives, cotangents, strict=True)]
    actives = [o.active(cotangent) for o, cotangent in zip(objectives, cotangents, strict=True)]
    touched = list(dict.fromkeys(window for active in actives for window in active))
    if len(objectives) > 1:
        touched.sort()
    totals: list[dict[str, Tensor]] = [{} for _ in objectives]
    with held_still(predictor.network):
        for pieces in predictor.pieces(one.x, windows, touched):
            wanted = [n for n, active in enumerate(actives) if set(active) & set(pieces.windows)]
            # Before the layers are read: what a pass answers for may take runs of its own.
            own = [shares[number].of(pieces, pieces.crops.device) for number in wanted]
            with torch.enable_grad(), ExitStack() as stack:
                logits, outputs = _read(one, pieces, layers, stack, windows)
                for turn, number in enumerate(wanted):
                    share = own[turn].to(logits.dtype)
                    slopes = _slopes(logits, outputs, share, keep=turn + 1 < len(wanted))
                    _add(totals[number], layers, slopes, pieces, set(actives[number]))
    return [
        {name: _found(total, one)[name] * share.scale for name in layers}
        for total, share in zip(totals, shares, strict=True)
    ]


def _read(
    objective: Objective, pieces: Pieces, layers: Sequence[str], stack: ExitStack, windows: Windows
) -> tuple[Logits, list[Tensor]]:
    network = objective.predictor.network
    read = [stack.enter_context(read_once(network, name)) for name in layers]
    logits = objective.run(pieces.crops.requires_grad_(True))
    for name, outputs in zip(layers, read, strict=True):
        require_ran(name, outputs)
        require_units_first(name, tuple(outputs[0].shape), windows)
    return logits, [outputs[0] for outputs in read]


def _slopes(
    logits: Logits, outputs: Sequence[Tensor], share: Tensor, *, keep: bool
) -> Sequence[Tensor | None]:
    if not logits.requires_grad:
        return [None for _ in outputs]
    return torch.autograd.grad(logits, outputs, share, retain_graph=keep, allow_unused=True)


def _add(
    total: dict[str, Tensor],
    layers: Sequence[str],
    slopes: Sequence[Tensor | None],
    pieces: Pieces,
    active: set[int],
) -> None:
    # A window beside the cotangent adds zeros, or NaN where its slopes are infinite.
    own = [place for place, window in enumerate(pieces.windows) if window in active]
    for name, slope in zip(layers, slopes, strict=True):
        if slope is None:
            raise no_part(name)
        part = slope[own].double().flatten(2).sum(dim=(0, 2))
        total[name] = part if name not in total else total[name] + part


def _found(total: dict[str, Tensor], objective: Objective) -> dict[str, Tensor]:
    if not total:
        raise LayerError(
            f"{objective.volume.name}: the target touches no window",
            hint="is its region within the image?",
        )
    return total
