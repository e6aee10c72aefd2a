"""Any of Captum's attribution classes, on the whole windowed prediction."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from esegeta.axes import Batch, Scalars
from esegeta.errors import ConfigError, suggest
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.captum_classes import class_of, is_block, require_init, require_keys
from esegeta.explain.captum_function import CaptumFunction
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRIBUTION, SLOPE, WORTH, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation import Features, Partition, parse_features

MeaningWord = Literal["slope", "magnitude", "contribution", "worth"]

MEANINGS: Mapping[MeaningWord, Meaning] = {
    "slope": SLOPE,
    "magnitude": SLOPE.magnitude(),
    "contribution": CONTRIBUTION,
    "worth": WORTH,
}
"""What a value of a map may be: see `Meaning`; a worth stands at every voxel of its feature."""

KNOWN: Mapping[str, MeaningWord] = {
    "Saliency": "magnitude",
    "InputXGradient": "contribution",
    "IntegratedGradients": "contribution",
    "GradientShap": "contribution",
    "FeatureAblation": "worth",
    "Occlusion": "worth",
    "ShapleyValueSampling": "worth",
    "ShapleyValues": "worth",
    "KernelShap": "worth",
    "Lime": "worth",
}
"""What the maps of Captum's own classes are, with their defaults."""

GRADIENTS = ("Saliency", "InputXGradient", "IntegratedGradients", "GradientShap", "NoiseTunnel")
"""Classes that take slopes."""

COMPLETE = ("IntegratedGradients", "ShapleyValueSampling", "ShapleyValues")
"""Classes whose values add up to the target's change from the baseline."""


@dataclass(frozen=True)
class Captum(Explainer):
    """A class of Captum, run unchanged on the target of the whole windowed prediction.

        a = Class(f, **init).attribute(x, **attribute),  f(x) = R(prediction of x)

    What a value means, and its sign and unit, are the class's: `meaning` says which, and is known
    for Captum's own classes. Classes that watch layers cannot see a prediction of many windows and
    are refused; the message names the method here that does the same.

    Args:
        class_path: `package.module:Class`, such as captum.attr:ShapleyValues; `class` in configs.
        init: keyword arguments of the class; a block with a `class` is built on the same function.
        arguments: keyword arguments of its `attribute`, which is their key in configs.
        features: what a `feature_mask` holds: blocks, supervoxels, channels, or a label map.
        baseline: what `baselines` holds: zero, mean, minimum, blur, or an image file.
        value: what one means: slope, magnitude, contribution or worth; `meaning` in configs.
        seed: seed of torch's random numbers, which Captum draws from.

    Source: Kokhlikyan et al., Captum, 2020.
    """

    class_path: str = field(default="captum.attr:Saliency", metadata={"key": "class"})
    init: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict, metadata={"key": "attribute"})
    features: Features | str | None = None
    baseline: Baseline | str | None = None
    value: MeaningWord | None = field(default=None, metadata={"key": "meaning"})
    seed: int = 0

    name: ClassVar[str] = "captum"
    traits: ClassVar[Traits] = Traits("captum", stochastic=True)

    def __post_init__(self) -> None:
        if self.features is not None:
            object.__setattr__(self, "features", parse_features(self.features))
        if self.baseline is not None:
            object.__setattr__(self, "baseline", parse_baseline(self.baseline))
        if self.value is not None and self.value not in MEANINGS:
            hint = suggest(self.value, get_args(MeaningWord))
            raise ConfigError(f'captum: meaning: "{self.value}" is not known', hint=hint)
        for key in ("target", "additional_forward_args", "return_convergence_delta"):
            if key in self.arguments:
                raise ConfigError(
                    f"captum: attribute: {key} cannot be given",
                    hint="the target is the config's, and one map is returned",
                )
        kind = class_of(self.class_path)
        require_init(kind, self.init, "init")
        filled = {"baselines"} if self.baseline is not None else set()
        require_keys(kind.attribute, self.arguments, "attribute", kind.__name__, filled)
        takes = inspect.signature(kind.attribute).parameters
        for key, parameter in (("features", "feature_mask"), ("baseline", "baselines")):
            if getattr(self, key) is not None and parameter not in takes:
                raise ConfigError(f"captum: {key}: {kind.__name__} takes no {parameter}")
        if self._word is None:
            raise ConfigError(
                f"captum: what a value of {kind.__name__} means is not known",
                hint=f"give `meaning`: {', '.join(MEANINGS)}",
            )

    @property
    def class_name(self) -> str:
        """The name of the class."""
        return self.class_path.rpartition(":")[2]

    @property
    def kind(self) -> type[Any]:
        """The class; see `class_of`."""
        return class_of(self.class_path)

    def build(self, function: Callable[[Batch], Scalars]) -> Any:
        """Return the class on a function, `B C *S` to `B`, with the arguments of `init`.

        Args:
            function: from images `B C *S` to a value of each, `B`.
        """
        return _build(self.kind, function, self.init)

    def given_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `attribute` that do not depend on the image."""
        given = {key: _as_tuples(value) for key, value in self.arguments.items()}
        # Copies of a volume are many; Captum would make all of them at once.
        if "internal_batch_size" in inspect.signature(self.kind.attribute).parameters:
            given.setdefault("internal_batch_size", 1)
        return given

    @property
    def _inner(self) -> str:
        """The class whose values the map holds: of a noise tunnel, the one that it smooths."""
        nested = [value["class"] for value in self.init.values() if is_block(value)]
        return str(nested[0]).rpartition(":")[2] if nested else self.class_name

    @property
    def _word(self) -> MeaningWord | None:
        if self.value is not None:
            return self.value
        is_signed = self.class_name == "Saliency" and self.arguments.get("abs") is False
        return "slope" if is_signed else KNOWN.get(self._inner)

    @property
    def meaning(self) -> Meaning:
        """As given, or as it is known of Captum's class."""
        assert self._word is not None
        return MEANINGS[self._word]

    @property
    def cost(self) -> Cost:
        """What the class takes: a forward pass, and a backward one for slopes, a call."""
        slopes = self.class_name in GRADIENTS
        return Cost.of(1, int(slopes), per="image that the class looks at")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map of the class.

        Raises:
            ConfigError: the class refuses its arguments, or returns something other than a map.
        """
        volume = objective.volume
        partition = None if self.features is None else parse_features(self.features).of(volume)
        given = self._given(objective, partition)
        function = CaptumFunction(objective)
        with torch.random.fork_rng(devices=_devices_of(volume.data)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Input Tensor 0 did not already require")
            torch.manual_seed(self.seed)
            try:
                found = self.build(function).attribute(volume.batch.clone(), **given)
            except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
                raise ConfigError(f"captum: {self.class_name}: {error}") from error
        if not isinstance(found, Tensor) or found.shape != volume.batch.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"captum: {self.class_name} returns {shape}, not a map of the image's shape"
            )
        return self._map(objective, found[0].detach().float(), partition, given)

    def _given(self, objective: Objective, partition: Partition | None) -> dict[str, Any]:
        volume = objective.volume
        given = self.given_arguments()
        if self.baseline is not None:
            given["baselines"] = parse_baseline(self.baseline).of(volume)[None]
        if partition is not None:
            outside = partition.labels < 0
            regions = torch.where(outside, partition.num_regions, partition.labels).long()
            steps = torch.arange(volume.num_channels, device=regions.device)
            # Captum takes a step of more than one for a feature that is empty.
            groups = steps * int(regions.max() + 1) * (partition.num_groups > 1)
            given["feature_mask"] = (
                groups.reshape(1, -1, *(1,) * regions.ndim) + regions[None, None]
            )
            if bool(outside.any()):
                # What is in no feature is never replaced: as a feature it is worth nothing.
                black = torch.as_tensor(given.get("baselines", 0.0), dtype=torch.float32)
                black = black.to(volume.data.device).expand_as(volume.batch)
                given["baselines"] = torch.where(outside, volume.batch, black)
        return given

    def _map(
        self,
        objective: Objective,
        data: Tensor,
        partition: Partition | None,
        given: Mapping[str, Any],
    ) -> RawMap:
        more: dict[str, Any] = {"class": self.class_path}
        sharing = None
        if partition is not None:
            # A feature's worth stands in every channel that was replaced with it.
            data = data if partition.num_groups > 1 else data[:1]
            data = torch.where(partition.labels >= 0, data, 0.0)
            sharing = partition.paint(partition.sizes).clamp(min=1)
            more["features"] = len(partition)
        if self.class_name not in COMPLETE:
            return RawMap(data, more=more, sharing=sharing)
        x = objective.volume.data
        black = torch.as_tensor(given.get("baselines", 0.0), dtype=x.dtype, device=x.device)
        change = objective.value() - objective.at(black.expand_as(x[None])[0].clone()).value()
        parts = data if sharing is None else data / sharing
        delta = float(parts.double().sum()) - change
        return RawMap(data, delta, delta / change if change else None, more, sharing=sharing)


def _build(kind: type[Any], function: Callable[[Batch], Scalars], init: Mapping[str, Any]) -> Any:
    """Build a class on the function, or on another that is built on the function."""
    given = {
        key: _build(
            class_of(str(value["class"])),
            function,
            {name: item for name, item in value.items() if name != "class"},
        )
        if is_block(value)
        else _as_tuples(value)
        for key, value in init.items()
    }
    first = list(inspect.signature(kind.__init__).parameters)[1]
    return kind(**given) if first in given else kind(function, **given)


def _as_tuples(value: Any) -> Any:
    """Return lists as tuples, which Captum takes for shapes and strides."""
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value


def _devices_of(data: Tensor) -> list[torch.device]:
    return [] if data.device.type == "cpu" else [data.device]
