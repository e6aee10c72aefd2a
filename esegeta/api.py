"""The Python face: from any module to a saved map in five lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from esegeta.axes import LabelMap, shape_text
from esegeta.config.targets import WHOLE_MAP, default_region
from esegeta.errors import ConfigError, GridError, TargetError, suggest
from esegeta.model import (
    Activation,
    Labels,
    State,
    convolution_signature,
    find_layer,
    join_members,
    load_members,
    resolve_device,
)
from esegeta.predict import (
    Average,
    Blend,
    Padding,
    Precision,
    Predictor,
    WindowPlan,
    list_passes,
    probe_window,
    require_same_function,
)
from esegeta.targets import (
    REGIONS,
    DiceTarget,
    FrozenTarget,
    Region,
    Scene,
    Target,
    UnitTarget,
    VolumeTarget,
    VoxelTarget,
)
from esegeta.targets.target import Reduce
from esegeta.volume import Preprocess, Volume, read_label_map

REDUCES: dict[str, Reduce] = {"sum": "sum", "mean": "mean"}
MASKS = {"frozen": False, "live": True}


@dataclass(frozen=True, eq=False)
class SegmentationModel(Predictor):
    """A predictor that makes targets of its own labels; explainers take it as their model."""

    def target(
        self,
        label: str | int | None = None,
        *,
        of: str = "logit",
        over: str | Region | None = None,
        reduce: str = "sum",
        mask: str = "frozen",
        layer: str | None = None,
        channel: int | None = None,
    ) -> Target:
        """Return a target; combine targets with `+`, `-` and `*`.

        Args:
            label: name or integer of a label; a unit needs one only where its region does.
            of: logit, probability, margin, log_probability, entropy, dice, volume_ml or unit.
            over: name of a region, or a region with its parameters; by default all voxels for
                entropy, dice, volume_ml and unit, those predicted as the label for the rest.
            reduce: `sum` or `mean` over the region's voxels; dice and volume_ml are sums.
            mask: `frozen` on the unperturbed prediction, or `live`; that of dice and volume_ml
                and of units is frozen.
            layer: of a unit: the name of the layer.
            channel: of a unit: a channel of the layer's output, from 0.

        Raises:
            LayerError: there is no such layer; the nearest names are given.
            TargetError: the label, quantity or region is unknown; the nearest names are given.
        """
        if label is not None:
            self.labels.channel(label)
        elif of != "unit":
            raise TargetError("label: no label is given", hint='such as model.target("liver")')
        over = default_region(of) if over is None else over
        if isinstance(over, str) and over not in REGIONS:
            raise TargetError(f'over: "{over}" is not a region', hint=suggest(over, REGIONS))
        for key, word, words in (("reduce", reduce, REDUCES), ("mask", mask, MASKS)):
            if word not in words:
                raise TargetError(f'{key}: "{word}" is not known', hint=suggest(word, words))
        region = REGIONS[over] if isinstance(over, str) else over
        if of == "unit":
            if layer is None or channel is None:
                raise TargetError(
                    "of: unit needs a layer and a channel",
                    hint='such as target(of="unit", layer="model.1", channel=7)',
                )
            if MASKS[mask]:
                raise TargetError("of: unit has no mask: live; its region stays where it is")
            find_layer(self.network, layer)
            return UnitTarget(layer, channel, region, REDUCES[reduce], label)
        if layer is not None or channel is not None:
            raise TargetError(f"layer and channel belong to of: unit, not of: {of}")
        assert label is not None
        if of in WHOLE_MAP:
            for key, word, usual in (("reduce", reduce, "sum"), ("mask", mask, "frozen")):
                if word != usual:
                    raise TargetError(
                        f"of: {of} describes the whole map; it takes no {key}: {word}"
                    )
            return DiceTarget(label, over=region) if of == "dice" else VolumeTarget(label, region)
        return VoxelTarget(label, of, region, REDUCES[reduce], live=MASKS[mask])

    def freeze(
        self, target: Target, volume: Volume, *, truth: Tensor | None = None
    ) -> FrozenTarget:
        """Fix a target on a volume, so that several methods share one prediction.

        Args:
            target: to be fixed.
            volume: the image.
            truth: label map `*S` on the volume's grid, for targets that need it.
        """
        return target.freeze(Scene(self, volume, truth))


def load_model(
    network: nn.Module | Sequence[nn.Module],
    *,
    window: Sequence[int],
    labels: Mapping[int, str],
    overlap: float = 0.5,
    blend: Blend = "gaussian",
    activation: Activation = "softmax",
    weights: str | Path | Sequence[str | Path] | None = None,
    batch_size: int = 1,
    precision: Precision = "fp32",
    device: str = "auto",
    in_channels: int | None = None,
    slice_axis: int = 2,
    padding: Padding = "zeros",
    mirror: Sequence[int] = (),
    average: Average = "logits",
) -> SegmentationModel:
    """Wrap any segmentation network for explanation, or an ensemble of one architecture.

    Args:
        network: from `B C *window` to logits; several, where each has its weights.
        window: lengths of what goes in; two for a 2D network. Outputs may be smaller.
        labels: name of each label integer.
        overlap: of neighbouring windows, in [0, 1).
        blend: `gaussian` or `constant`.
        activation: `softmax` or `sigmoid`.
        weights: safetensors or state dict to load first; several, for an ensemble of folds.
        batch_size: windows at a time.
        precision: fp32, bf16 or fp16.
        device: auto, cpu, cuda or cuda:1.
        in_channels: input channels, where the first convolution does not tell.
        slice_axis: axis along which a 2D network goes through a volume.
        padding: what windows see outside of the image: `zeros`, its `edge`, or `reflect`.
        mirror: axes of the window; each is seen once for every choice among them.
        average: of mirrored passes and networks: `logits` or `probabilities`.
    """
    place = resolve_device(device)
    networks = [network] if isinstance(network, nn.Module) else list(network)
    networks = [one.to(place) for one in networks]
    network = networks[0]
    states = _states(networks, weights)
    passes = list_passes(mirror, max(1, len(states)))
    plan = WindowPlan(
        tuple(window), overlap, blend, slice_axis, padding, passes=passes, average=average
    )
    signature = convolution_signature(network)
    channels = in_channels or (signature[1] if signature is not None else 1)
    probe = probe_window(network, plan.size, channels)
    plan = replace(plan, coverage=probe.coverage)
    found = Labels(dict(labels), activation, probe.num_outputs)
    if len(networks) > 1:
        generator = torch.Generator().manual_seed(0)
        trial = torch.randn((1, channels, *plan.size), generator=generator).to(place)
        require_same_function(networks, states, _names(networks), trial)
    return SegmentationModel(network, plan, found, batch_size, precision, states=states)


def _states(
    networks: Sequence[nn.Module], weights: str | Path | Sequence[str | Path] | None
) -> tuple[State, ...]:
    """Load weights, and return the states of the networks of an ensemble."""
    if weights is None:
        return join_members(networks, _names(networks))
    files = [weights] if isinstance(weights, (str, Path)) else list(weights)
    if len(networks) > 1 or not files:
        raise ConfigError(
            f"{len(files)} files of weights for {len(networks)} networks",
            hint="give one network and the files of its folds, or networks with their weights",
        )
    return load_members(networks[0], [Path(file) for file in files])


def _names(networks: Sequence[nn.Module]) -> list[str]:
    return [f"network[{number}]" for number in range(len(networks))]


def load_label_map(
    path: str | Path,
    volume: Volume,
    *,
    orientation: str | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> LabelMap:
    """Load a ground truth onto the grid of a volume, for `SegmentationModel.freeze`.

    Args:
        path: label integers on the grid of the volume's file.
        volume: as `load_volume` returned it.
        orientation: as it was given to `load_volume`.
        spacing_mm: as it was given to `load_volume`.

    Raises:
        DataError: the values are not integers.
        GridError: the map does not lie on the grid of the volume's file, or orientation and
            spacing are not those of the volume.
    """
    spacing = tuple(float(value) for value in spacing_mm) if spacing_mm else None
    labels = read_label_map(Path(path), volume, Preprocess(orientation, spacing))
    if tuple(labels.shape) != volume.grid.shape:
        raise GridError(
            f"{path}: {shape_text(tuple(labels.shape))} voxels, but the volume has "
            f"{shape_text(volume.grid.shape)}",
            hint="give orientation and spacing_mm as for the image",
        )
    return labels
