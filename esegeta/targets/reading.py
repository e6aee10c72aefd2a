"""What targets look at: the logits of the network, or units of one of its layers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from esegeta.errors import TargetError
from esegeta.model import FIRST, Labels, UnitNetwork, check_units, held_still
from esegeta.predict import Predictor
from esegeta.targets.scene import Scene


@dataclass(frozen=True)
class UnitReading:
    """What a target looks at: the logits, or one unit of a layer.

    Args:
        layer: name of the layer; None for the logits.
        channel: channel of the layer's output.
    """

    layer: str | None = None
    channel: int = 0


def require_one_layer(layers: Collection[str | None]) -> None:
    """Refuse a combination of targets of different layers, or of a layer and the logits (None).

    Raises:
        TargetError: they do.
    """
    words = sorted({"the logits" if name is None else f"layer {name}" for name in layers})
    if len(words) > 1:
        raise TargetError(
            f"targets of {' and of '.join(words)} cannot be combined",
            hint="combine units of one layer, or explain them one by one",
        )


def scene_of(readings: frozenset[UnitReading], scene: Scene) -> Scene:
    """Return the scene that targets of one layer, or of the logits, are frozen on together."""
    inside = any(reading.layer is not None for reading in readings)
    return UnitScene.of(scene, readings) if inside else scene


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitScene(Scene):
    """A scene whose prediction ends at a layer: its logits are the maps of some units.

    Args:
        origin: the scene of the whole network; masks are made of its prediction.
        layer: name of the layer.
        channels: channels of the layer's output, ascending; they become the outputs.
    """

    origin: Scene
    layer: str
    channels: tuple[int, ...]

    @classmethod
    def of(cls, origin: Scene, readings: frozenset[UnitReading]) -> UnitScene:
        """Return the scene that units of one layer are read in; a scene of units already is one.

        Raises:
            LayerError: the layer has no such unit.
        """
        if isinstance(origin, UnitScene):
            return origin
        (layer,) = {reading.layer for reading in readings}
        assert layer is not None
        channels = tuple(sorted(reading.channel for reading in readings))
        predictor, volume = origin.predictor, origin.volume
        windows = predictor.windows(volume.batch)
        crop = next(predictor.pieces(volume.batch, windows, [0])).crops
        thin = windows.slice_axis
        with held_still(predictor.network):
            window = crop if thin is None else crop.squeeze(thin + 2)
            check_units(predictor.network, layer, channels, window)
        read = unit_predictor(predictor, layer, channels)
        return cls(read, volume, origin.truth, origin=origin, layer=layer, channels=channels)

    @property
    def known_warnings(self) -> tuple[str, ...]:
        """The warnings of the whole network's prediction."""
        return self.origin.known_warnings

    def flipped(self, axis: int) -> UnitScene:
        """Return the scene of the flipped volume, read at the same units."""
        origin = self.origin.flipped(axis)
        read, volume, truth = self.predictor, origin.volume, origin.truth
        return UnitScene(
            read, volume, truth, origin=origin, layer=self.layer, channels=self.channels
        )

    def predictor_for(self, predictor: Predictor) -> Predictor:
        """Return the predictor that ends at the layer, made from that of the whole network."""
        if predictor is self.origin.predictor or predictor is self.predictor:
            return self.predictor
        return unit_predictor(predictor, self.layer, self.channels)


def unit_predictor(predictor: Predictor, layer: str, channels: tuple[int, ...]) -> Predictor:
    """Return a predictor of the maps of some units instead of the logits."""
    names = {place: unit_name(layer, channel) for place, channel in enumerate(channels, start=1)}
    # Activations are no probabilities.
    plan = replace(predictor.plan.ending_at(layer), average="logits")
    extent = None if plan.coverage is None else plan.coverage.voxels
    return replace(
        predictor,
        network=UnitNetwork(predictor.network, layer, channels, extent),
        output=FIRST,
        plan=plan,
        labels=Labels(names, "sigmoid", len(channels)),
    )


def unit_name(layer: str, channel: int) -> str:
    """Return what a unit is called, such as `model.1[7]`."""
    return f"{layer}[{channel}]"
