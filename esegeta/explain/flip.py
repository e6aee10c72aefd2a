"""A method for the flipped image: what it was given voxel by voxel is flipped along."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from esegeta.explain.baseline import Baseline
from esegeta.explain.explainer import Explainer
from esegeta.explain.perturbation import Features


def flipped_method(explainer: Explainer, axis: int) -> Explainer:
    """Return a method as it explains the image whose spatial axis is stored from its other end.

    Images of baselines and label maps of features lie on the image's grid and are flipped with it.
    All else stays: what a method finds in the image by itself, it finds in the flipped one.
    """
    changes: dict[str, Any] = {}
    for item in fields(explainer):
        value = getattr(explainer, item.name)
        moved = _flipped(value, axis)
        if moved is not value:
            changes[item.name] = moved
    return replace(explainer, **changes) if changes else explainer


def _flipped(value: Any, axis: int) -> Any:
    if isinstance(value, Explainer):
        return flipped_method(value, axis)
    if isinstance(value, (Baseline, Features)):
        return value.flipped(axis)
    if isinstance(value, tuple) and any(isinstance(entry, Baseline) for entry in value):
        return tuple(_flipped(entry, axis) for entry in value)
    return value
