"""The picture of a map from Python: in a notebook, or as a PNG."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from esegeta.errors import OutputError
from esegeta.explain import Attribution
from esegeta.report import overlay_png
from esegeta.volume import atomic_path


@dataclass(frozen=True)
class Picture:
    """A PNG, which notebooks show.

    Args:
        content: of the file.
    """

    content: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.content

    def save(self, path: str | Path) -> Path:
        """Write it as a .png, and return where.

        Raises:
            OutputError: the path does not end with .png, or cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() != ".png":
            raise OutputError(f"{file}: pictures are PNG files", hint=f"save {file.stem}.png")
        with atomic_path(file) as temporary:
            temporary.write_bytes(self.content)
        return file


def plot(attribution: Attribution, *, title: str | None = None, dpi: int = 130) -> Picture:
    """Return the picture of a map as a run writes it: image, colours, outlines and legend.

    The slices go through the target; colours end at the 99.5th percentile of the magnitude.

    Args:
        attribution: the map.
        title: above it; image and method by default.
        dpi: dots per inch, at least 40; the picture is about 12 inches wide.

    Raises:
        OutputError: dpi is below 40.
    """
    if dpi < LEAST_DPI:
        raise OutputError(f"dpi: must be at least {LEAST_DPI} (found {dpi})")
    usual = f"{attribution.volume.name}: {attribution.method}"
    return Picture(overlay_png(attribution, usual if title is None else title, dpi=dpi))


LEAST_DPI = 40
