"""From the config's atlases to regions on the grid of each case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from esegeta.axes import LabelMap, Mask
from esegeta.config import RunConfig, blamed_on
from esegeta.config.schema import OWN_LABELS
from esegeta.errors import ConfigError
from esegeta.explain import OUTSIDE, Atlas, OverlappingAtlas
from esegeta.model import Labels, present_integers
from esegeta.targets import Scene
from esegeta.volume import Case, Preprocess, Reading, check_case, read_label_map
from esegeta.workflow.plans import image_sha256

IGNORED = "ignored"
"""The region of the voxels that a ground truth says nothing about."""


@dataclass(frozen=True, eq=False)
class AtlasPlan:
    """One entry of the config's atlases.

    Args:
        name: its name, as in the table.
        source: `prediction`, `label`, or a path in which `{case}` stands for the case.
        names: names of its integers.
        config: config, for paths.
    """

    name: str
    source: str
    names: Mapping[int, str]
    config: RunConfig

    def file(self, case: Case) -> Path | None:
        """Return the file of a case, or None where the atlas is the prediction."""
        if self.source == "label":
            return case.label
        if self.source == "prediction":
            return None
        return self.config.find_file(self.source.replace("{case}", case.name))

    def fingerprint(self, case: Case) -> object:
        """Return all that decides the rows of a case, as plain values."""
        path = self.file(case)
        return {
            "name": self.name,
            "source": self.source if self.source in OWN_LABELS else "file",
            "names": {str(integer): name for integer, name in self.names.items()},
            "sha256": image_sha256(path) if path is not None and path.exists() else None,
        }

    def load(self, scene: Scene, case: Case, preprocess: Preprocess) -> Atlas | OverlappingAtlas:
        """Return the regions on the scene's grid."""
        if self.source == "prediction":
            if not scene.labels.are_integers:
                return OverlappingAtlas(self.name, _predicted_regions(scene))
            integers = scene.segmentation.label_map
        elif self.source == "label":
            integers = scene.require_truth(f"aggregate: {self.name}")
            if not scene.labels.are_integers:
                return OverlappingAtlas(self.name, _true_regions(scene.labels, integers))
        else:
            path = self.file(case)
            assert path is not None
            integers = read_label_map(path, scene.volume, preprocess)
        return Atlas(self.name, integers.to(scene.volume.data.device), self.names)


def _predicted_regions(scene: Scene) -> dict[str, Mask]:
    """Return the mask of each label, and of the voxels in none."""
    labels = scene.labels
    return _with_outside({name: scene.predicted(name) for name in labels.foreground})


def _true_regions(labels: Labels, truth: LabelMap) -> dict[str, Mask]:
    """Return where a ground truth holds each label, integers of no label, and no label at all."""
    masks = {name: labels.truth(truth, name) for name in labels.foreground}
    for integer in present_integers(truth):
        if integer not in labels.known_integers:
            masks[str(integer)] = truth == integer
    if labels.ignore_label is not None:
        masks[IGNORED] = ~labels.valid(truth)
    return _with_outside(masks)


def _with_outside(masks: dict[str, Mask]) -> dict[str, Mask]:
    found = torch.zeros_like(next(iter(masks.values())))
    for mask in masks.values():
        found |= mask
    return {OUTSIDE: ~found, **masks}


def plan_atlases(
    config: RunConfig,
    labels: Labels,
    cases: list[Case],
    reading: Reading,
) -> tuple[AtlasPlan, ...] | None:
    """Check the config's atlases against the image of every case and return their plans.

    None where the config has no `aggregate`; an empty tuple aggregates by channel alone.

    Raises:
        ConfigError: a case lacks the ground truth that is an atlas.
        DataError: a file is missing, or lies on another grid than the image.
    """
    keys = config.keys.aggregate
    if keys is None:
        return None
    plans = []
    for name, source in keys.atlases.items():
        own = {integer: text for integer, text in labels.names.items() if integer != 0}
        if source == "label" and labels.ignore_label is not None:
            own[labels.ignore_label] = IGNORED
        names = own if source in OWN_LABELS else keys.names.get(name, {})
        plan = AtlasPlan(name, source, names, config)
        with blamed_on(config, "aggregate", "atlases", name):
            for case in cases:
                path = plan.file(case)
                if path is None and source == "label":
                    raise ConfigError(
                        f"aggregate.atlases.{name}: case {case.name} has no ground truth",
                        hint="give every case a `label:` file, or leave this atlas out",
                    )
                if path is not None:
                    check_case(replace(case, label=path), reading)
        plans.append(plan)
    return tuple(plans)
