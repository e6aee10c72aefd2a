"""The keys of `prediction`: how what is predicted on the network's grid comes to the scan's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from esegeta.config.keys import Keys
from esegeta.errors import or_else, suggest

ResampleKind = Literal["logits", "probabilities", "labels"]

PRESETS: dict[str, dict[str, ResampleKind]] = {
    "nnunet": {"resample": "logits"},
    "monai": {"resample": "probabilities"},
}
"""What the usual chains do: nnU-Net resamples logits; MONAI's bundles put `Activationsd` before
`Invertd`, and so resample probabilities."""

EXPECTED_DICE = 0.99
"""Below this Dice of a label, a prediction is not the one that was expected."""


class PredictionKeys(Keys):
    """How the prediction is put back on the scan's grid, and how well it must agree."""

    resample: ResampleKind = "logits"
    expected_dice: float | None = Field(default=None, gt=0, le=1)


def _preset(value: Any) -> Any:
    """Return the keys that a preset stands for, and anything else as it is."""
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        block = "give a block such as {resample: logits}"
        raise ValueError(f'"{value}" is not known; {or_else(suggest(value, PRESETS), block)}')
    return PRESETS[value]


PredictionKey = Annotated[PredictionKeys, BeforeValidator(_preset)]
"""A block, or the name of a preset."""
