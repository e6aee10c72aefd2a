"""What the file of a map says beside where it lies: what it is, how it is shown and stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

PEAK_PERCENTILE = 99.5
DUST = 0.01
"""Magnitudes below this fraction of the peak are dust: half of most maps, and nothing to see."""

LARGEST_INT16 = 32767
DESCRIP_BYTES, INTENT_BYTES, AUX_BYTES = 80, 16, 24

MapType = Literal["float32", "int16"]

POSITIVE_COLOURS, NEGATIVE_COLOURS, STRENGTH_COLOURS = "red", "blue", "plasma"
"""Colour tables as viewers name them: above zero, below zero, and for maps without sign."""


@dataclass(frozen=True)
class MapHeader:
    """What the header of a map says in words and numbers.

    Args:
        method: method that made the map.
        target: target that the map explains.
        unit: unit of one voxel.
        is_signed: whether values below zero occur; those of other maps are shown from zero up.
        dtype: type of the voxels; int16 is scaled by a slope, and takes half the space.
    """

    method: str = ""
    target: str = ""
    unit: str = ""
    is_signed: bool = True
    dtype: MapType = "float32"

    @property
    def descrip(self) -> bytes:
        """The line that viewers show: method, target and unit."""
        parts = [text for text in (self.method, self.target) if text]
        unit = f" [{self.unit}]" if self.unit else ""
        return fit(": ".join(parts) + unit, DESCRIP_BYTES)

    @property
    def intent_name(self) -> bytes:
        """The target, as far as there is room."""
        return fit(self.target, INTENT_BYTES)

    @property
    def aux_file(self) -> bytes:
        """The unit, as far as there is room."""
        return fit(self.unit, AUX_BYTES)


def fit(text: str, room: int) -> bytes:
    """Return a text as a field of a header, ended by a zero byte; no letter is cut in two."""
    return text.encode()[: room - 1].decode(errors="ignore").strip().encode()


@dataclass(frozen=True)
class Display:
    """Which magnitudes of a map are shown, from transparent to full colour.

    Args:
        low: magnitude below which values are dust.
        high: the 99.5th percentile of the magnitudes that are not zero; 0 where all are.
        is_signed: whether values below zero have a colour of their own.
    """

    low: float
    high: float
    is_signed: bool

    @property
    def limits(self) -> tuple[float, float]:
        """cal_min and cal_max: about zero, or from zero up for maps without sign."""
        return (-self.high if self.is_signed else 0.0), self.high

    def describe(self) -> dict[str, Any]:
        """Return it for the sidecar; colour tables by the names that NiiVue and FSLeyes share."""
        return {
            "low": self.low,
            "high": self.high,
            "colormap": POSITIVE_COLOURS if self.is_signed else STRENGTH_COLOURS,
            "negative": NEGATIVE_COLOURS if self.is_signed else None,
            "note": f"high: {PEAK_PERCENTILE} % of the magnitudes above zero lie below; "
            f"low: {DUST:.0%} of high, and magnitudes below it are dust, to be left transparent",
        }


def display_of(array: np.ndarray, *, is_signed: bool) -> Display:
    """Return how a map is shown: up to the 99.5th percentile of its non-zero magnitudes."""
    high = peak_of(array)
    return Display(DUST * high, high, is_signed)


def peak_of(array: np.ndarray) -> float:
    """Return the 99.5th percentile of the magnitudes that are not zero; 0 where all are."""
    magnitude = np.abs(array[array != 0])
    return float(np.percentile(magnitude, PEAK_PERCENTILE)) if magnitude.size else 0.0


@dataclass(frozen=True)
class Encoded:
    """The voxels of a map as they lie in its file.

    Args:
        voxels: the voxels, in the type of the file.
        slope: a voxel times this is the value; None where voxels are the values.
        largest_error: largest error of any value.
    """

    voxels: np.ndarray
    slope: float | None = None
    largest_error: float = 0.0

    def describe(self) -> dict[str, Any]:
        """Return it for the sidecar."""
        note: dict[str, Any] = {"dtype": str(self.voxels.dtype)}
        if self.slope is not None:
            note |= {
                "slope": self.slope,
                "largest_error": self.largest_error,
                "note": "a voxel times the slope is the value, which programs do by themselves; "
                "the error is below 1e-4 of the map's range",
            }
        return note


def store(array: np.ndarray, dtype: MapType) -> Encoded:
    """Return a map in the type of its file.

    As int16 a value v is round(v / slope), slope = max |v| / 32767 in the float32 of the header:
    the error is at most slope / 2, 1.6e-5 of the largest magnitude.
    """
    if dtype == "float32":
        return Encoded(array.astype(np.float32, copy=False))
    peak = float(np.abs(array).max(initial=0.0))
    slope = np.float32(peak / LARGEST_INT16)
    if float(slope) * LARGEST_INT16 < peak:
        slope = np.nextafter(slope, np.float32(np.inf))
    factor = float(slope) or 1.0
    voxels = np.rint(array.astype(np.float64) / factor).astype(np.int16)
    error = float(np.abs(voxels * factor - array).max(initial=0.0))
    return Encoded(voxels, factor, error)
