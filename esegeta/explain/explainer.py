"""The contract of a method: its parameters are its fields, its help is its docstring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from esegeta.explain.attribution import (
    RAISES,
    READS_NO_TARGET,
    Attribution,
    Facts,
    LayerMap,
    require_map,
)
from esegeta.explain.meter import Meter, measure
from esegeta.explain.objective import Objective
from esegeta.predict import Predictor
from esegeta.target import FrozenTarget, Scene, Target
from esegeta.volume import Volume


@dataclass(frozen=True)
class Traits:
    """What holds for a method; drives the contract tests and the checks before a run.

    Args:
        family: of the method, for listings.
        additive: over windows the map is a sum; equal to the map of the un-windowed function.
        complete: the map adds up to a change of the target.
        needs_hooks: reads layers while the network runs.
        needs_layer: has a `layer` parameter.
        stochastic: has a `seed`; the same seed gives the same map.
        by_channel: tells the input channels apart.
        reads_target: the map depends on the target; activations alone do not.
        unit: of one voxel of the map; `{target}` stands for the target's unit.
    """

    family: str
    additive: bool = False
    complete: bool = False
    needs_hooks: bool = False
    needs_layer: bool = False
    stochastic: bool = False
    by_channel: bool = True
    reads_target: bool = True
    unit: str = "{target}"


@dataclass(frozen=True)
class RawMap:
    """What a method computes: the map, and what it has to say about it.

    Args:
        data: `A *S`, signed, unscaled.
        completeness_delta: see `Facts`.
        completeness_relative: see `Facts`.
        more: further facts.
        warnings: what a reader of the map must know.
        standard_error: of each voxel, `A *S`, where a stochastic method was asked for it.
        layer_maps: see `Attribution`.
    """

    data: Tensor
    completeness_delta: float | None = None
    completeness_relative: float | None = None
    more: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    standard_error: Tensor | None = None
    layer_maps: tuple[LayerMap, ...] = ()


@dataclass(frozen=True)
class Explainer(ABC):
    """One attribution method with its parameters."""

    # Whoever builds an explainer from untrusted values gets unknown keys refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "arbitrary_types_allowed": True,
    }

    name: ClassVar[str]
    traits: ClassVar[Traits]
    zero_hint: ClassVar[str] = (
        "the target does not depend on the input here; is the network trained and its output "
        "not saturated?"
    )

    @property
    @abstractmethod
    def cost(self) -> str:
        """Cost in network evaluations: F a forward, B a backward pass over active windows."""

    def unit_for(self, target_unit: str) -> str:
        """Return the unit of one voxel of the map, given the target's."""
        return self.traits.unit.format(target=target_unit)

    @abstractmethod
    def attribute(self, objective: Objective) -> RawMap:
        """Compute the map of an objective."""

    def explain(
        self, predictor: Predictor, volume: Volume, target: Target | FrozenTarget
    ) -> Attribution:
        """Explain a target on a volume.

        Args:
            predictor: the network over windows.
            volume: `C *S`; its data's device holds the volume's buffers.
            target: frozen on this volume, or to be frozen now (which may predict it first).

        Returns:
            The signed map on the volume's grid; positive raises the target.

        Raises:
            EmptyTargetError: the target's mask holds no voxel.
            MapError: the map is zero everywhere or not finite.
        """
        frozen = target.freeze(Scene(predictor, volume)) if isinstance(target, Target) else target
        objective = Objective.of(predictor, frozen, volume)
        with measure(volume.data.device) as meter:
            # Counted first: afterwards it would come on top of what the map and the heap hold.
            num_active = len(objective.active(objective.cotangent()))
            raw = self.attribute(objective)
            require_map(raw.data, self.name, self.zero_hint)
        return Attribution(
            data=raw.data.detach().float(),
            unit=self.unit_for(frozen.unit),
            method=self.name,
            parameters=parameters_of(self),
            volume=volume,
            target=frozen,
            facts=self._facts(objective, raw, meter, num_active),
            warnings=raw.warnings,
            standard_error=None if raw.standard_error is None else raw.standard_error.float(),
            layer_maps=raw.layer_maps,
            sign=RAISES if self.traits.reads_target else READS_NO_TARGET,
        )

    def _facts(self, objective: Objective, raw: RawMap, meter: Meter, num_active: int) -> Facts:
        return Facts(
            seconds=meter.seconds,
            peak_memory_mb=meter.peak_memory_mb,
            evaluations=objective.tally.evaluations,
            windows_run=objective.tally.windows_run,
            active_windows=num_active,
            num_windows=len(objective.windows),
            completeness_delta=raw.completeness_delta,
            completeness_relative=raw.completeness_relative,
            seed=getattr(self, "seed", None) if self.traits.stochastic else None,
            more=raw.more,
        )


def parameters_of(explainer: Any) -> dict[str, Any]:
    """Return the parameters of a method as plain values, nested methods with their names."""
    values: dict[str, Any] = {}
    for item in fields(explainer):
        value = getattr(explainer, item.name)
        if not item.repr:  # data that a run fills in, such as the voxels of a baseline file
            continue
        if isinstance(value, Explainer):
            values[item.name] = {"name": value.name, **parameters_of(value)}
        elif is_dataclass(value) and not isinstance(value, type):
            values[item.name] = parameters_of(value)
        elif isinstance(value, Tensor):
            values[item.name] = f"tensor {tuple(value.shape)}"
        elif value is None or isinstance(value, (bool, int, float, str, list, dict)):
            values[item.name] = value
        else:
            values[item.name] = list(value) if isinstance(value, tuple) else str(value)
    return values


def generator_for(tensor: Tensor, seed: int) -> torch.Generator:
    """Return a seeded generator on the tensor's device."""
    return torch.Generator(device=tensor.device).manual_seed(seed)


def standard_deviation(data: Tensor) -> float:
    """Return the standard deviation of all voxels and channels: the unit of noise and radii."""
    return float(data.double().std(correction=0))
