"""The contract of a method: its parameters are its fields, its help is its docstring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from esegeta.explain.attribution import Attribution, Facts, LayerMap, Way, require_map
from esegeta.explain.cost import Cost, Meter, measure
from esegeta.explain.finite import FiniteParameters
from esegeta.explain.meaning import Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.serving import require_served
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget, Scene, Target
from esegeta.volume import Volume


@dataclass(frozen=True)
class Traits:
    """Facts that hold for a method; they drive the contract tests and the checks before a run.

    Args:
        family: family of the method, for listings.
        additive: whether the map is a sum over windows; equal to the map of the un-windowed
            function.
        complete: whether the map adds up to a change of the target.
        needs_hooks: reads layers while the network runs.
        needs_layer: has a `layer` parameter.
        stochastic: has a `seed`; the same seed gives the same map.
        by_channel: tells the input channels apart.
        reads_target: the map depends on the target; activations alone do not.
        together: several targets share its forward passes; see `Explainer.attribute_together`.
    """

    family: str
    additive: bool = False
    complete: bool = False
    needs_hooks: bool = False
    needs_layer: bool = False
    stochastic: bool = False
    by_channel: bool = True
    reads_target: bool = True
    together: bool = False


@dataclass(frozen=True)
class RawMap:
    """What a method computes: the map, and what it has to say about it.

    Args:
        data: `A *S`, signed, unscaled.
        completeness_delta: see `Facts`.
        completeness_relative: see `Facts`.
        more: further facts.
        warnings: what a reader of the map must know.
        standard_error: standard error of each voxel, `A *S`, where a stochastic method was asked
            for it.
        layer_maps: see `Attribution`.
        sharing: `A *S`, see `Attribution`.
        ways: see `Attribution`.
    """

    data: Tensor
    completeness_delta: float | None = None
    completeness_relative: float | None = None
    more: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    standard_error: Tensor | None = None
    layer_maps: tuple[LayerMap, ...] = ()
    sharing: Tensor | None = None
    ways: tuple[Way, ...] = ()

    def __repr__(self) -> str:
        """One line."""
        shape = " x ".join(map(str, self.data.shape))
        return f"<RawMap {shape}, {str(self.data.dtype).removeprefix('torch.')}>"


@dataclass(frozen=True)
class Explainer(FiniteParameters, ABC):
    """One attribution method with its parameters."""

    # Whoever builds an explainer from untrusted values gets unknown keys refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "arbitrary_types_allowed": True,
        "allow_inf_nan": False,
    }

    name: ClassVar[str]
    traits: ClassVar[Traits]
    zero_hint: ClassVar[str] = (
        "the target does not depend on the input here; is the network trained and its output "
        "not saturated?"
    )

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """Forward and backward passes that the method takes with these parameters."""

    @property
    @abstractmethod
    def meaning(self) -> Meaning:
        """What a value of the map is with these parameters."""

    def unlearned(self) -> Explainer:
        """Return the method without what was learned from one network, for use on another."""
        nested = {
            item.name: value.unlearned()
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), Explainer)
        }
        return replace(self, **nested) if nested else self

    def require_served(self, predictor: Predictor) -> None:
        """Refuse a predictor that the method cannot explain.

        Args:
            predictor: model that would be explained.

        Raises:
            ModelError: the method, or one that it is built on, needs layers or gradients that the
                network does not give, and the message names the methods that it can serve.
        """
        for item in fields(self):
            if isinstance(value := getattr(self, item.name), Explainer):
                value.require_served(predictor)
        require_served(self, predictor.capability)

    @abstractmethod
    def attribute(self, objective: Objective) -> RawMap:
        """Compute the map of an objective; call `map_of` from outside.

        Args:
            objective: frozen target of the whole windowed prediction, on its volume.
        """

    def map_of(self, objective: Objective) -> RawMap:
        """Compute the map of an objective, seen as the method needs it.

        What reads layers or operations watches one pass of a network at a time.

        Args:
            objective: frozen target of the whole windowed prediction, on its volume.
        """
        return self.attribute(objective.of_passes() if self.traits.needs_hooks else objective)

    def attribute_together(self, objectives: Sequence[Objective]) -> list[RawMap]:
        """Compute the maps of several targets at one input.

        A method that lets them share forward passes overrides this and says so in its traits.

        Args:
            objectives: targets of one prediction, on one volume.
        """
        return [self.map_of(objective) for objective in objectives]

    def explain(
        self, predictor: Predictor, volume: Volume, target: Target | FrozenTarget
    ) -> Attribution:
        """Explain a target on a volume.

        Args:
            predictor: the network over windows.
            volume: `C *S`; its data's device holds the volume's buffers.
            target: frozen on this volume, or to be frozen now (which may predict it first).

        Returns:
            The map on the volume's grid, unscaled; its `meaning` says what a value is.

        Raises:
            EmptyTargetError: the target's mask holds no voxel.
            ModelError: the network cannot serve the method.
            MapError: the map is zero everywhere or not finite.
        """
        return self.explain_together(predictor, volume, [target])[0]

    def explain_together(
        self, predictor: Predictor, volume: Volume, targets: Sequence[Target | FrozenTarget]
    ) -> list[Attribution]:
        """Explain several targets on a volume; all maps, or the first error.

        The maps are those of `explain`. Targets share the prediction and, where the method's
        traits say `together`, its forward passes: then `seconds` of the facts is an even share of
        what the joint work took, `peak_memory_mb` its peak, `evaluations` and `windows_run` are
        what the target needs by itself, and `more.shared_with` counts the other targets.

        Args:
            predictor: model to explain.
            volume: the image.
            targets: what to explain; frozen ones keep their masks.
        """
        require_served(self, predictor.capability)
        scene = Scene(predictor, volume)
        frozen = [
            target.freeze(scene) if isinstance(target, Target) else target for target in targets
        ]
        # A unit inside the network is read by a predictor of its own, and shares with none.
        shares = [
            self.traits.together and target.scene.predictor_for(predictor) is predictor
            for target in frozen
        ]
        joint = [target for target, shared in zip(frozen, shares, strict=True) if shared]
        done = iter(self._explain_group(predictor, volume, joint) if joint else ())
        return [
            next(done) if shared else self._explain_group(predictor, volume, [target])[0]
            for target, shared in zip(frozen, shares, strict=True)
        ]

    def _explain_group(
        self, predictor: Predictor, volume: Volume, targets: Sequence[FrozenTarget]
    ) -> list[Attribution]:
        objectives = [Objective.of(predictor, target, volume) for target in targets]
        for objective in objectives:
            self.require_served(objective.predictor)
        with measure(volume.data.device) as meter:
            # Counted first: afterwards it would come on top of what the map and the heap hold.
            nums_active = [item.num_active for item in objectives]
            several = len(objectives) > 1
            raws = self.attribute_together(objectives) if several else [self.map_of(objectives[0])]
            for raw in raws:
                require_map(raw.data, self.name, self.zero_hint)
        return [
            self.attribution(objective, raw, self._facts(objective, raw, meter, num, len(raws)))
            for objective, raw, num in zip(objectives, raws, nums_active, strict=True)
        ]

    def attribution(
        self, objective: Objective, raw: RawMap, facts: Facts | None = None
    ) -> Attribution:
        """Return what was computed of an objective as a map with its meaning.

        Args:
            objective: what was explained.
            raw: map and facts as the method computed them.
            facts: cost and size of the computation; None where it was not measured.
        """
        return Attribution(
            data=raw.data.detach().float(),
            meaning=self.meaning,
            method=self.name,
            parameters=parameters_of(self),
            volume=objective.volume,
            target=objective.target,
            facts=facts or Facts(),
            warnings=(*raw.warnings, *objective.target.scene.known_warnings),
            standard_error=None if raw.standard_error is None else raw.standard_error.float(),
            layer_maps=raw.layer_maps,
            sharing=raw.sharing,
            ways=raw.ways,
            explainer=self,
        )

    def _facts(
        self, objective: Objective, raw: RawMap, meter: Meter, num_active: int, num_targets: int
    ) -> Facts:
        shared = {"shared_with": num_targets - 1} if num_targets > 1 else {}
        passes = len(objective.predictor.plan.passes)
        shared |= {"passes_per_window": passes} if passes > 1 else {}
        return Facts(
            seconds=meter.seconds / num_targets,
            peak_memory_mb=meter.peak_memory_mb,
            evaluations=objective.tally.evaluations,
            windows_run=objective.tally.windows_run,
            active_windows=num_active,
            num_windows=len(objective.windows),
            completeness_delta=raw.completeness_delta,
            completeness_relative=raw.completeness_relative,
            seed=getattr(self, "seed", None) if self.traits.stochastic else None,
            more={**raw.more, **shared},
        )


def parameters_of(explainer: Any) -> dict[str, Any]:
    """Return the parameters of a method as plain values, nested methods with their names."""
    # What has no `repr` is data that a run fills in, such as the voxels of a baseline file.
    return {
        key_of(item): _plain(getattr(explainer, item.name))
        for item in fields(explainer)
        if item.repr
    }


def key_of(item: Field[Any]) -> str:
    """Return the key of a parameter in configs: its name, except where Python forbids that one."""
    return str(item.metadata.get("key", item.name))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        # Of methods and scores: their parameters alone do not tell one from another.
        name = getattr(value, "name", None)
        return {**({"name": name} if isinstance(name, str) else {}), **parameters_of(value)}
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    known = value is None or isinstance(value, (bool, int, float, str, list, dict))
    return value if known else str(value)


def generator_for(tensor: Tensor, seed: int) -> torch.Generator:
    """Return a seeded generator on the tensor's device."""
    return torch.Generator(device=tensor.device).manual_seed(seed)


def standard_deviation(data: Tensor) -> float:
    """Return the standard deviation of all voxels and channels: the unit of noise and radii."""
    return float(data.double().std(correction=0))
