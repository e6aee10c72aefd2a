"""Why a target's mask holds no voxel, in words that name the label, the region and the case."""

from __future__ import annotations

from esegeta.axes import Mask
from esegeta.errors import EmptyTargetError
from esegeta.targets.region import Region
from esegeta.targets.scene import Scene


def require_voxels(
    mask: Mask,
    label: str | int,
    over: Region,
    scene: Scene,
    *,
    is_live: bool = False,
    of: str | None = None,
) -> None:
    """Refuse an empty mask, naming the label, the region and the case.

    Args:
        mask: `*S`.
        label: name or integer of the label.
        over: the region whose mask it is.
        scene: the case.
        is_live: whether the mask follows the logits, of which postprocessing removes nothing.
        of: the quantity that the region is the reference of, such as `dice`.

    Raises:
        EmptyTargetError: no voxel is in the mask.
    """
    if not bool(mask.any()):
        words = over.describe() + (", live" if is_live else "") + (f" ({of})" if of else "")
        may_be_removed = over.is_of_predicted and not is_live
        why = (what_was_removed(label, scene) if may_be_removed else None) or over.why_empty
        raise EmptyTargetError(
            f'{scene.volume.name}: no voxel of label "{label}" over: {words}',
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
