"""Which grey values of a scan are drawn black and white, in every figure, scene and page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from esegeta.volume import Span

GREY_PERCENTILES = (1.0, 99.0)
"""Percentiles of the grey values that are drawn black and white."""


def grey_range(image: np.ndarray, spans: Sequence[Span | None] = ()) -> tuple[float, float]:
    """Return the grey values that are drawn black and white; they are never the same.

    Args:
        image: grey values or colours.
        spans: ranges in which preprocessing leaves the channels that are drawn; where they are
            unknown or differ, percentiles are used instead: of the values above the smallest,
            which is the air around the patient or what a scan was filled up with.
    """
    if spans and spans[0] is not None and all(span == spans[0] for span in spans):
        return spans[0]
    values = image[image > image.min()]
    if not values.size:
        return float(image.min()), float(image.min()) + 1.0
    low, high = (float(edge) for edge in np.percentile(values, GREY_PERCENTILES))
    return low, high if high > low else low + 1.0
