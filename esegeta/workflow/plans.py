"""What the config names, for each case: targets, and files of methods and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from esegeta.config import RunConfig, TargetKeys
from esegeta.config.keys import fault_of_part
from esegeta.errors import ConfigError, TargetError, suggest
from esegeta.explain import Baseline, Explainer, Features
from esegeta.model import Labels, file_sha256
from esegeta.score import Score
from esegeta.targets import (
    REGIONS,
    Boundary,
    BoxRegion,
    Component,
    DiceTarget,
    PointRegion,
    Region,
    Roi,
    Scene,
    Target,
    UnitTarget,
    VolumeTarget,
    VoxelTarget,
    WeightedSum,
    require_one_layer,
    split_components,
)
from esegeta.volume import Case, Preprocess, members, read_label_map

NEEDS_TRUTH = ("label", "false_positive", "false_negative")


@dataclass(frozen=True, eq=False)
class TargetPlan:
    """One entry of the config's targets.

    Args:
        name: its name in file names; components add `#1`, `#2`, ...
        keys: keys of the entry.
        parts: plans that a combination refers to, by name.
        config: config, for paths.
    """

    name: str
    keys: TargetKeys
    parts: Mapping[str, TargetPlan]
    config: RunConfig

    @property
    def layer(self) -> str | None:
        """The layer whose units it looks at; None where it looks at the logits."""
        layers = {part.layer for part in self.parts.values()}
        return next(iter(layers)) if layers else self.keys.layer

    @property
    def wants_truth(self) -> bool:
        """Whether the ground truth of a case decides which voxels it is about."""
        return _wants_truth(self.keys) or any(part.wants_truth for part in self.parts.values())

    @property
    def splits(self) -> bool:
        """Whether it becomes one target per component, which only the prediction tells."""
        return self.keys.component == "each" and self.keys.over == "component"

    def roi_file(self, case: Case) -> Path | None:
        """Return the mask file of a case, or None where the target has none."""
        if self.keys.roi is None:
            return None
        return self.config.find_file(self.keys.roi.replace("{case}", case.name))

    def fingerprint(self, case: Case) -> object:
        """Return all that decides the target on a case, as plain values."""
        roi = self.roi_file(case)
        return {
            "keys": self.keys.model_dump(mode="json"),
            "roi_sha256": image_sha256(roi) if roi is not None and roi.exists() else None,
            "parts": {name: plan.fingerprint(case) for name, plan in self.parts.items()},
        }

    def targets(self, scene: Scene, case: Case, preprocess: Preprocess) -> dict[str, Target]:
        """Return the targets of a scene by name: one, or one per component.

        Raises:
            EmptyTargetError: there is no component.
        """
        if self.keys.combine is not None:
            terms = []
            for name, weight in self.keys.combine.items():
                part = self.parts[name].targets(scene, case, preprocess)
                terms.append((weight, part[name]))
            return {self.name: WeightedSum(tuple(terms))}
        target = self._target(scene, case, preprocess)
        if not self.splits or not isinstance(target, (VoxelTarget, UnitTarget)):
            return {self.name: target}
        parts = split_components(target, scene, min_volume_ml=self.keys.min_volume_ml)
        return {f"{self.name}#{place}": part for place, part in enumerate(parts, start=1)}

    def _target(self, scene: Scene, case: Case, preprocess: Preprocess) -> Target:
        keys = self.keys
        region = self._region(scene, case, preprocess)
        if keys.layer is not None and keys.channel is not None:
            return UnitTarget(keys.layer, keys.channel, region, keys.reduce, keys.label)
        assert keys.label is not None  # the schema asks for it
        if keys.of == "dice":
            return DiceTarget(keys.label, keys.reference, region)
        if keys.of == "volume_ml":
            return VolumeTarget(keys.label, region)
        live = keys.mask == "live"
        return VoxelTarget(keys.label, keys.of, region, keys.reduce, live)

    def _region(self, scene: Scene, case: Case, preprocess: Preprocess) -> Region:
        keys = self.keys
        builders: dict[str, Callable[[], Region]] = {
            "component": lambda: Component(
                keys.component if isinstance(keys.component, int) else 1
            ),
            "boundary": lambda: Boundary(keys.within_mm),
            "roi": lambda: Roi(self._roi(scene, case, preprocess), keys.roi or ""),
            "box": lambda: BoxRegion(*(keys.box or ((), ()))),
            "point": lambda: PointRegion(keys.point or ()),
        }
        return builders[keys.over]() if keys.over in builders else REGIONS[keys.over]

    def _roi(self, scene: Scene, case: Case, preprocess: Preprocess) -> Tensor:
        path = self.roi_file(case)
        assert path is not None  # the schema asks for it
        return read_label_map(path, scene.volume, preprocess).to(torch.int64)


def plan_targets(config: RunConfig, labels: Labels, cases: list[Case]) -> list[TargetPlan]:
    """Check the config's targets against labels and cases and return their plans.

    Raises:
        ConfigError: two targets share a name, or a combination refers to none.
        TargetError: a label is unknown, or every case lacks the ground truth that is needed.
    """
    plans: dict[str, TargetPlan] = {}
    for index, keys in enumerate(config.keys.targets):
        place = config.document.place(("targets", index))
        name = keys.shown_name
        if name in plans:
            raise ConfigError(
                f'{place}: targets[{index}]: two targets have the name "{name}"',
                hint="give each a `name`",
            )
        fault = fault_of_part(name, "target")
        if fault:
            raise ConfigError(
                f"{place}: targets[{index}]: {fault}", hint="give the target a `name`"
            )
        _check_target(keys, labels, cases, f"{place}: targets[{index}]")
        for part in keys.combine or {}:
            if part not in plans:
                raise ConfigError(
                    f'{place}: targets[{index}].combine: no target "{part}" above this one',
                    hint=suggest(part, plans),
                )
            if plans[part].splits:
                raise ConfigError(f'{place}: combine: "{part}" is split into components')
        try:
            require_one_layer([plans[part].layer for part in keys.combine or {}])
        except TargetError as error:
            error.message = f"{place}: targets[{index}].combine: {error.message}"
            raise
        plans[name] = TargetPlan(
            name, keys, {part: plans[part] for part in keys.combine or {}}, config
        )
    for plan in plans.values():
        for case in cases:
            path = plan.roi_file(case)
            if path is not None and not path.exists():
                raise TargetError(f"targets: {plan.name}: {path}: no such roi file")
    return list(plans.values())


def _check_target(keys: TargetKeys, labels: Labels, cases: list[Case], place: str) -> None:
    if keys.label is None:
        return
    try:
        labels.channels(keys.label)
    except TargetError as error:
        error.message = f"{place}: {error.message}"
        raise
    if _wants_truth(keys) and all(case.label is None for case in cases):
        raise TargetError(
            f"{place}: the target needs a ground truth and no case has one",
            hint="give the cases a `label:` file",
        )


def nested(work: Explainer | Score) -> Iterator[Any]:
    """Yield a method or score and those that it is built on."""
    yield work
    for item in fields(work):
        value: Any = getattr(work, item.name)
        if isinstance(value, (Explainer, Score)):
            yield from nested(value)


def baseline_files(baseline: Baseline, case: Case, config: RunConfig) -> tuple[Path, ...]:
    """Return the files of a baseline for a case: none, one, or one per channel."""
    if baseline.file is None:
        return ()
    names = (baseline.file,) if isinstance(baseline.file, str) else baseline.file
    return tuple(config.find_file(name.replace("{case}", case.name)) for name in names)


def atlas_file(work: Explainer | Score, case: Case, config: RunConfig) -> Path | None:
    """Return the label map of the features of a method or score, or None where it has none."""
    features = getattr(work, "features", None)
    if not isinstance(features, Features) or features.file is None:
        return None
    return config.find_file(features.file.replace("{case}", case.name))


def image_sha256(path: Path) -> str | list[str]:
    """Return the SHA-256 of an image's file, or of both where it is a .hdr/.img pair."""
    found = [file_sha256(file) for file in members(path)]
    return found[0] if len(found) == 1 else found


def _wants_truth(keys: TargetKeys) -> bool:
    return keys.over in NEEDS_TRUTH or (keys.of == "dice" and keys.reference == "label")
