"""Why a target's mask holds no voxel, in words that name the label, the region and the case."""

from __future__ import annotations

from esegeta.axes import Mask
from esegeta.errors import EmptyTargetError
from esegeta.targets.scene import Scene

OF_PREDICTION = ("predicted", "false_positive", "component", "boundary")
"""Regions that hold no voxel where postprocessing removed all that was predicted."""

NONE_THERE = {
    "label": "the ground truth of this case holds none",
    "label (dice)": "the ground truth of this case holds none",
    "false_negative": "the network misses no voxel of it",
    "false_positive": "the network predicts none beyond the ground truth",
}
"""Why a region holds no voxel of a label, where a missing prediction is not the reason."""


def require_voxels(mask: Mask, label: str | int, over: str, scene: Scene) -> None:
    """Refuse an empty mask, naming the label, the region and the case.

    Raises:
        EmptyTargetError: no voxel is in the mask.
    """
    if not bool(mask.any()):
        why = what_was_removed(label, scene) if over.split()[0] in OF_PREDICTION else None
        why = why or NONE_THERE.get(
            over, "the network predicts none there, or the region misses it"
        )
        raise EmptyTargetError(
            f'{scene.volume.name}: no voxel of label "{label}" over: {over}',
            hint=f"{why}; `over: all` or `over: box` explain regardless of the prediction",
        )


def what_was_removed(label: str | int, scene: Scene) -> str | None:
    """Return how much of a label's prediction postprocessing removed; None where nothing."""
    steps = scene.labels.postprocessing
    if not steps or scene.labels.is_background(label):
        return None
    predicted = scene.within(scene.prediction.decided.predicted(label))
    kept = scene.predicted(label)
    total, removed = int(predicted.sum()), int((predicted & ~kept).sum())
    if not removed:
        return None
    taking = ", ".join(steps.removing(scene.labels.name(label)))
    all_of_them = "it" if total == 1 else "them"
    what = all_of_them if removed == total else f"{removed} of them"
    return f"{_voxels(total)} predicted, and postprocessing ({taking}) removed {what}"


def _voxels(count: int) -> str:
    return "1 voxel was" if count == 1 else f"{count} voxels were"
