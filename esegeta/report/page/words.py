"""What a value of a map says, in words that a clinician understands."""

from __future__ import annotations

from collections.abc import Mapping

SIGNS: Mapping[str, tuple[str, str]] = {
    "slope": (
        "a brighter voxel here would raise the {target} score",
        "a brighter voxel here would lower the {target} score",
    ),
    "contribution": ("raises the {target} score", "lowers the {target} score"),
    "weighted_activation": (
        "what the network's layer finds here raises the {target} score",
        "what the network's layer finds here lowers the {target} score",
    ),
    "influence": (
        "more activity of the layer here would raise the {target} score",
        "more activity of the layer here would lower the {target} score",
    ),
    "signal": (
        "bright in the pattern that the {target} score answers to",
        "dark in the pattern that the {target} score answers to",
    ),
    "probability": ("speaks for the {target} score", "speaks against the {target} score"),
    "mask": ("inside the mask that the method found for the {target} score", ""),
    "square": ("moves the {target} score, up or down", ""),
    "activation": (
        "the layer is active here; says nothing of {target}",
        "the layer's activity is below zero here; says nothing of {target}",
    ),
    "null": (
        "a map that knows nothing of the network, to compare with",
        "a map that knows nothing of the network, to compare with",
    ),
}


def words_of(meaning: str, target: str, sign: str) -> tuple[str, str]:
    """Return what a value above and below zero says.

    Args:
        meaning: the kind, as sidecars have it.
        target: name of the target.
        sign: the sidecar's own sentence, for kinds that are not known here.
    """
    if meaning not in SIGNS:
        return sign, sign
    above, below = SIGNS[meaning]
    return above.format(target=target), below.format(target=target)
