"""A map over its image in a notebook, drawn by NiiVue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esegeta.errors import ConfigError
from esegeta.volume import display_of, excerpt_of, map_copy, scan_copy
from esegeta.volume.map_header import NEGATIVE_COLOURS, POSITIVE_COLOURS, STRENGTH_COLOURS

if TYPE_CHECKING:
    from esegeta.explain.attribution import Attribution

FADED_TO = 0.5
"""Fraction of the colours' end; values below it fade, as on the report's page."""

OPACITY = 0.85


def notebook_widget(attribution: Attribution, *, channel: int) -> Any:
    """Return a widget of the image with the map over it; see `Attribution.view`.

    Args:
        attribution: the map.
        channel: channel of the image, from 0.

    Raises:
        ConfigError: ipyniivue is not installed, or there is no such channel.
    """
    try:
        from ipyniivue import ColormapType, NiiVue
    except ImportError as error:
        raise ConfigError(
            "attribution.view() needs ipyniivue, which is not installed",
            hint="pip install 'esegeta[notebook]'",
        ) from error
    volume = attribution.volume
    if not 0 <= channel < volume.num_channels:
        raise ConfigError(
            f"channel: the image has no channel {channel}",
            hint=f"choose from 0 to {volume.num_channels - 1}",
        )
    mask = attribution.target.mask.cpu().numpy()
    view = excerpt_of(volume.grid, mask)
    grid = view.grid(volume.grid)
    image = volume.data[channel].cpu().numpy()
    array = attribution.total.cpu().numpy()
    signed = attribution.meaning.is_signed
    high = display_of(array, is_signed=signed).high
    scan = {"name": "image.nii.gz", "data": scan_copy(view.mean(image), grid), "colormap": "gray"}
    shown = {
        "name": "map.nii.gz",
        "data": map_copy(view.strongest(array), grid, high),
        "colormap": POSITIVE_COLOURS if signed else STRENGTH_COLOURS,
        "colormap_negative": NEGATIVE_COLOURS if signed else "",
        "colormap_type": ColormapType.ZERO_TO_MAX_TRANSPARENT_BELOW_MIN,
        "cal_min": FADED_TO * high,
        "cal_max": high,
        "cal_min_neg": -FADED_TO * high,
        "cal_max_neg": -high,
        "opacity": OPACITY,
    }
    widget = NiiVue()
    widget.load_volumes([scan, shown])
    return widget
