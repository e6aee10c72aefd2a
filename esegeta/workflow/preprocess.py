"""From the keys of `data.preprocess` to its steps, and what becomes of each case by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from esegeta.config import RunConfig, blamed_on
from esegeta.config.preprocess import IntensityKeys
from esegeta.errors import ConfigError, StepError
from esegeta.volume import (
    Case,
    Grid,
    Intensity,
    IntensityStep,
    Preprocess,
    Reading,
    Route,
    crop_of,
    crop_or_pad_of,
    intensity_of,
    read_volume,
    require_size,
    step_of,
)

BLOCK = ("data", "preprocess")


def build_preprocess(config: RunConfig, reading: Reading) -> Preprocess:
    """Return the chain that a config describes.

    Raises:
        ConfigError: a step is impossible, or is for a channel that does not exist.
    """
    keys = config.keys.data.preprocess
    intensity = _intensity(config, reading)
    with blamed_on(config, *BLOCK, "crop"):
        crop = crop_of(None if keys.crop is None else keys.crop.model_dump())
    with blamed_on(config, *BLOCK, "crop_or_pad"):
        size = crop_or_pad_of(None if keys.crop_or_pad is None else keys.crop_or_pad.model_dump())
    with blamed_on(config, *BLOCK):
        return Preprocess(
            keys.orientation,
            keys.spacing_mm,
            intensity,
            order=keys.order,
            separate_axis=keys.separate_axis,
            crop=crop,
            crop_or_pad=size,
            transpose=keys.transpose,
        )


def _intensity(config: RunConfig, reading: Reading) -> Intensity | tuple[IntensityStep, ...]:
    written = config.keys.data.preprocess.intensity
    if isinstance(written, list):
        places = enumerate(written)
        return tuple(_step(config, reading, keys, ("intensity", place)) for place, keys in places)
    _step(config, reading, written, ("intensity",))
    return intensity_of(written.model_dump(exclude_unset=True))


def _step(
    config: RunConfig, reading: Reading, keys: IntensityKeys, place: Sequence[str | int]
) -> IntensityStep:
    with blamed_on(config, *BLOCK, *place):
        step = step_of(keys.model_dump(exclude_unset=True))
    with blamed_on(config, *BLOCK, *place, "channels"):
        step.indices(_channel_names(reading))
    return step


def _channel_names(reading: Reading) -> tuple[str, ...]:
    return reading.channels or tuple(str(number) for number in range(reading.num_channels))


def check_steps_fit(config: RunConfig, name: str, grid: Grid) -> None:
    """Refuse lists that do not hold one value for each axis of a case's image."""
    keys = config.keys.data.preprocess
    size = None if keys.crop_or_pad is None else keys.crop_or_pad.size
    for key, values in (("transpose", keys.transpose), ("crop_or_pad", size)):
        if values is not None and len(values) != grid.ndim:
            raise ConfigError(
                f"{config.document.place((*BLOCK, key))}: preprocess.{key} has {len(values)} "
                f"values, {name} is {grid.ndim}D",
                hint=f"give {grid.ndim} values",
            )


def check_size_for_network(config: RunConfig, name: str, grid: Grid, reading: Reading) -> None:
    """Refuse a spacing or size by which an image would not fit into memory."""
    with blamed_on(config, *BLOCK):
        require_size(grid.shape, f"{name} as the network sees it", reading.max_voxels)


@contextmanager
def blamed_on_steps(config: RunConfig) -> Iterator[None]:
    """Say where in the config the step is that cannot take an image."""
    try:
        yield
    except StepError as error:
        error.message = f"{config.document.place((*BLOCK, *error.step))}: {error.message}"
        raise


def network_route(
    config: RunConfig, case: Case, grid: Grid, preprocess: Preprocess, reading: Reading
) -> Route:
    """Return the way of a case whose file has `grid` to the network's grid.

    Voxels are read only where a crop depends on them.

    Raises:
        StepError: the crop leaves nothing of the case.
    """
    if preprocess.crop is None:
        with blamed_on(config, *BLOCK):
            return preprocess.route(grid)
    with blamed_on_steps(config):
        return preprocess.network_route(read_volume(case, reading))
