"""Steps for grey values: which rule, for which channels, before or after resampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage

from esegeta.axes import Image, Mask
from esegeta.errors import ConfigError, StepError, suggest
from esegeta.volume.intensity_rules import (
    EXAMPLES,
    Clip,
    Ct,
    Keep,
    Linear,
    Log,
    Rule,
    Span,
    Window,
)
from esegeta.volume.intensity_statistics import Percentile, Rescale, ZScore

BEFORE, AFTER = "before_resampling", "after_resampling"


@dataclass(frozen=True)
class Intensity:
    """One rule for all channels, each for itself, after resampling.

    Values that float32 holds exactly are scaled in float32; steps are taken in float64.

    Args:
        kind: `window` clips to [low, high] and scales to [0, 1]; `percentile` does so between
            two percentiles of the image; `minmax` scales to [0, 1]; `zscore` to mean 0 and
            standard deviation 1; `none` leaves the values alone.
        low: lower bound, in grey values (window) or percent (percentile).
        high: upper bound, likewise.
    """

    kind: Literal["window", "zscore", "minmax", "percentile", "none"] = "none"
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        _ = self.rule  # which refuses an empty range

    @property
    def rule(self) -> Rule:
        """The rule that it stands for."""
        rules: dict[str, Callable[[], Rule]] = {
            "window": lambda: Window(self.low, self.high),
            "percentile": lambda: Percentile(self.low, self.high),
            "minmax": Rescale,
            "zscore": ZScore,
            "none": Keep,
        }
        return rules[self.kind]()


@dataclass(frozen=True)
class IntensityStep:
    """A rule, for some of the channels, at one place of the chain.

    Args:
        rule: rule that is applied to each of the channels.
        channels: their indices or names; None means all.
        when: before the image is resampled, or after.
    """

    rule: Rule
    channels: tuple[int | str, ...] | None = None
    when: str = AFTER

    def __post_init__(self) -> None:
        if self.when not in (BEFORE, AFTER):
            raise ConfigError(
                f'intensity: when: "{self.when}" is not known',
                hint=suggest(self.when, (BEFORE, AFTER)),
            )

    def indices(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return which channels it is for, among those of an image.

        Args:
            names: names of the image's channels, in order.

        Raises:
            ConfigError: the image has no such channel; the nearest name is given.
        """
        if self.channels is None:
            return tuple(range(len(names)))
        found = []
        for channel in self.channels:
            if isinstance(channel, int) and 0 <= channel < len(names):
                found.append(channel)
            elif isinstance(channel, str) and channel in names:
                found.append(names.index(channel))
            else:
                raise ConfigError(
                    f"intensity {self.rule.name}: there is no channel {channel!r}".replace(
                        "'", '"'
                    ),
                    hint=(
                        f"channels are counted from 0 to {len(names) - 1}"
                        if isinstance(channel, int)
                        else suggest(channel, names)
                    ),
                )
        return tuple(found)


IntensitySteps = tuple[IntensityStep, ...]


def take_steps(steps: Mapping[int, IntensityStep], data: Image, names: Sequence[str]) -> Image:
    """Take steps one after the other on `C *S`, each channel for itself.

    Args:
        steps: steps in the order in which they are taken, by their place in the config's list.
        data: float32 or float64; it is left as it is.
        names: names of the channels.

    Raises:
        StepError: a rule is not defined on a channel's values; the message says which.
    """

    @cache
    def foreground() -> Mask:  # of the image as it enters the steps
        return foreground_of(data)

    channels = list(data)
    for place, step in steps.items():
        for number in step.indices(names):
            try:
                channels[number] = step.rule(channels[number], foreground)
            except StepError as error:
                which = (
                    str(number) if names[number] == str(number) else f"{number} ({names[number]})"
                )
                message = f"intensity {step.rule.name}: in channel {which} {error.message}"
                path = ("intensity", place)
                raise StepError(message, hint=error.hint, step=path) from error
    return torch.stack(channels)


def spans_of(steps: Sequence[IntensityStep], names: Sequence[str]) -> tuple[Span | None, ...]:
    """Return between which values each channel lies after steps; None where no step bounds it."""
    spans: list[Span | None] = [None] * len(names)
    for step in steps:
        for number in step.indices(names):
            spans[number] = step.rule.span(spans[number])
    return tuple(spans)


def fix_steps(
    steps: Mapping[int, IntensityStep], data: Image, names: Sequence[str]
) -> tuple[IntensitySteps, Image]:
    """Take steps that an image can take, and return them with its statistics held fixed.

    Returns:
        Steps of one channel each, which change grey values voxel by voxel, and the image after.
    """

    @cache
    def foreground() -> Mask:
        return foreground_of(data)

    channels, fixed = list(data), []
    for step in steps.values():
        for number in step.indices(names):
            rule = step.rule.fixed(channels[number], foreground)
            channels[number] = step.rule(channels[number], foreground)
            fixed.append(IntensityStep(rule, (number,), step.when))
    return tuple(fixed), torch.stack(channels)


def foreground_of(data: Image) -> Mask:
    """Return voxels that are non-zero in any channel, with holes filled.

    Source: nnU-Net's create_nonzero_mask.
    """
    found = (data.detach() != 0).any(dim=0)
    filled: np.ndarray = ndimage.binary_fill_holes(found.numpy(force=True))
    return torch.from_numpy(filled).to(data.device)


RULES: dict[str, Callable[[Any], Rule]] = {
    "window": lambda value: Window(*_pair("window", value)),
    "percentile": lambda value: Percentile(*_pair("percentile", value)),
    "minmax": lambda value: Rescale(),
    "zscore": lambda value: ZScore(**_keys("zscore", value, ("over",))),
    "ct": lambda value: _ct(_keys("ct", value, ("clip", "mean", "std"))),
    "rescale": lambda value: (
        Linear(**_keys("rescale", value, ("scale", "offset")))
        if isinstance(value, Mapping)
        else Rescale(*_pair("rescale", value))
    ),
    "clip": lambda value: Clip(*_pair("clip", value)),
    "log": lambda value: Log(),
    "none": lambda value: Keep(),
}
"""How each rule is written, alone or as the key of a step."""

WORDS = ("zscore", "minmax", "log", "none")
"""Rules that may stand alone."""


def step_of(written: str | Mapping[str, Any] | IntensityStep | Rule) -> IntensityStep:
    """Return a step as a config writes it: `zscore`, or `{window: [0, 80], channels: [ct]}`.

    Raises:
        ConfigError: with the nearest name where a rule or key is unknown.
    """
    if isinstance(written, IntensityStep):
        return written
    if isinstance(written, Rule):
        return IntensityStep(written)
    if not isinstance(written, (str, Mapping)):
        raise ConfigError(f"intensity: {written!r} is not a step", hint="such as zscore")
    keys: dict[str, Any] = {written: True} if isinstance(written, str) else dict(written)
    channels, when = keys.pop("channels", None), keys.pop("when", AFTER)
    for name in keys:
        if name not in RULES:
            known = RULES if isinstance(written, str) else (*RULES, "channels", "when")
            raise ConfigError(f'intensity: "{name}" is not a step', hint=suggest(name, known))
    if len(keys) != 1:
        raise ConfigError("intensity: a step has one rule", hint=f"give one of {', '.join(RULES)}")
    ((name, value),) = keys.items()
    if value is True and name not in WORDS:
        example = EXAMPLES.get(name, "{clip: [-1000, 1000], mean: 100, std: 75}")
        raise ConfigError(f"intensity: {name} needs its numbers; write {name}: {example}")
    return IntensityStep(RULES[name](value), _listed(channels), when)


def intensity_of(written: Any) -> Intensity | IntensitySteps:
    """Return what `intensity` means as a config writes it: one rule, or a list of steps.

    Args:
        written: such as `{window: [-250, 400]}`, or a list of such steps.

    Raises:
        StepError: a step is unknown, or its values are not what it takes.
    """
    if isinstance(written, Intensity):
        return written
    if isinstance(written, Sequence) and not isinstance(written, str):
        return tuple(step_of(item) for item in written)
    step = step_of(written)
    return _one_rule(step) or (step,)


def _one_rule(step: IntensityStep) -> Intensity | None:
    """Return a step as the one rule for all channels that it may be."""
    rule = step.rule
    if step.channels is not None or step.when != AFTER:
        return None
    if isinstance(rule, Window):
        return Intensity("window", rule.low, rule.high)
    if isinstance(rule, Percentile):
        return Intensity("percentile", rule.low, rule.high)
    plain: dict[Rule, Intensity] = {
        Rescale(): Intensity("minmax"),
        ZScore(): Intensity("zscore"),
        Keep(): Intensity(),
    }
    return plain.get(rule)


def _listed(channels: Any) -> tuple[int | str, ...] | None:
    if channels is None:
        return None
    listed = (channels,) if isinstance(channels, (int, str)) else tuple(channels)
    if not listed:
        raise ConfigError("intensity: channels: names none", hint="leave it out to mean all")
    return listed


def _pair(name: str, value: Any) -> tuple[float, float]:
    pair = () if isinstance(value, (str, bool)) else value
    try:
        low, high = (float(bound) for bound in pair)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"intensity {name}: {value!r} is not two numbers",
            hint=f"write {name}: {EXAMPLES[name]}",
        ) from error
    return low, high


def _keys(name: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if value is True:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"intensity {name}: {value!r} is not a block of {', '.join(known)}")
    for key in value:
        if key not in known:
            raise ConfigError(f'intensity {name}: unknown key "{key}"', hint=suggest(key, known))
    return dict(value)


def _ct(keys: Mapping[str, Any]) -> Ct:
    for key in ("clip", "mean", "std"):
        if key not in keys:
            raise ConfigError(
                f"intensity ct: {key} is missing",
                hint="write ct: {clip: [-1000, 1000], mean: 100, std: 75}",
            )
    return Ct(*_pair("clip", keys["clip"]), float(keys["mean"]), float(keys["std"]))
