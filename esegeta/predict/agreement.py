"""How well two segmentations of one image agree, label by label."""

from __future__ import annotations

from dataclasses import dataclass

from esegeta.axes import LabelMap
from esegeta.errors import DataError
from esegeta.model import Labels, present_integers

MOST_SHOWN = 12
"""How many integers a message lists."""


@dataclass(frozen=True)
class Agreement:
    """How well a prediction agrees with the expected one on a label.

    Args:
        label: name of the label.
        dice: `2 |P and E| / (|P| + |E|)` in 0..1; 1 where neither has the label.
        num_voxels_expected: |E|.
        num_voxels_predicted: |P|.
    """

    label: str
    dice: float
    num_voxels_expected: int
    num_voxels_predicted: int


def agreement(labels: Labels, predicted: LabelMap, expected: LabelMap) -> list[Agreement]:
    """Return the agreement on each label but the background.

    Both label maps are painted, so that where labels overlap a voxel shows the one painted last; a
    different order of painting shows in the result.

    Args:
        labels: labels to compare.
        predicted: label integers `*S`.
        expected: label integers `*S` of the same grid, on any device.
    """
    rows = []
    expected = expected.to(predicted.device)
    for name in labels.foreground:
        ours, theirs = labels.shown(predicted, name), labels.shown(expected, name)
        sizes = int(theirs.sum()), int(ours.sum())
        dice = 2 * int((ours & theirs).sum()) / sum(sizes) if any(sizes) else 1.0
        rows.append(Agreement(name, dice, *sizes))
    return rows


def require_own_integers(labels: Labels, expected: LabelMap, where: str) -> None:
    """Refuse an expected segmentation that this network cannot have made.

    Raises:
        DataError: it holds integers that are neither 0, nor those of a label, nor those of a
            channel without a name.
    """
    known = set(labels.known_integers) | set(labels.names)
    if labels.activation == "softmax":
        known |= set(range(labels.num_outputs))
    foreign = [integer for integer in present_integers(expected) if integer not in known]
    if foreign:
        shown = ", ".join(str(integer) for integer in foreign[:MOST_SHOWN])
        more = f" and {len(foreign) - MOST_SHOWN} more" if len(foreign) > MOST_SHOWN else ""
        own = ", ".join(str(integer) for integer in sorted(known))
        raise DataError(
            f"{where}: the expected segmentation holds {shown}{more}; the labels are {own}",
            hint="`expected` is this model's own segmentation, with the integers of `labels`",
        )
