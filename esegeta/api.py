"""The Python face: from any module to a saved map in five lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from esegeta.axes import LabelMap, shape_text
from esegeta.config.targets import WHOLE_MAP, default_region
from esegeta.errors import ConfigError, DataError, GridError, TargetError, suggest
from esegeta.model import (
    COMPILED_NOTE,
    Activation,
    Labels,
    LabelsGiven,
    OutputChoice,
    State,
    convolution_signature,
    find_layer,
    foreign_integers,
    is_compiled,
    join_members,
    load_members,
    load_weights,
    resolve_device,
    without_wrappers,
)
from esegeta.model.label_forms import OrderEntry
from esegeta.predict import (
    Average,
    Blend,
    Padding,
    Placing,
    Precision,
    Predictor,
    Rule,
    WindowPlan,
    agreement,
    empty_window,
    list_passes,
    probabilities_in,
    probe_output,
    require_own_integers,
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
from esegeta.volume import (
    Orient,
    Preprocess,
    Respace,
    Volume,
    read_label_map,
    read_source_labels,
    write_source_labels,
)

REDUCES: dict[str, Reduce] = {"sum": "sum", "mean": "mean"}
RULES: dict[str, Rule] = {rule: rule for rule in get_args(Rule)}
MASKS = {"frozen": False, "live": True}


@dataclass(frozen=True, eq=False)
class SegmentationModel(Predictor):
    """A predictor that makes targets of its own labels; explainers take it as their model.

    Args:
        notes: what the user should know of network, weights and outputs.
    """

    notes: tuple[str, ...] = ()

    def predict(self, volume: Volume, *, resample: str = "logits") -> LabelMap:
        """Return the label map of an image, `*T` on the grid of its file.

        `save_label_map` writes it there.

        Args:
            volume: the image.
            resample: what is put back on the file's grid, where spacing or place differ: `logits`
                or `probabilities`, which are decided there, or `labels`, decided before.

        Raises:
            ConfigError: there is no such rule.
            ModelError: the logits are not finite.
        """
        if resample not in RULES:
            raise ConfigError(f'resample: "{resample}" is not known', hint=suggest(resample, RULES))
        return Scene(self, volume).on_source(RULES[resample]).label_map

    def compare(
        self, volume: Volume, expected: str | Path | Tensor, *, resample: str = "logits"
    ) -> dict[str, float]:
        """Return the Dice of each label with your own segmentation by the same network.

        Below about 0.99, this is another prediction than yours; docs/pipeline.md lists causes.

        Args:
            volume: the image.
            expected: label integers on the grid of the image's file: a file, or `*T`.
            resample: as `predict` takes it.

        Raises:
            DataError: the expected integers are not those of the labels.
            GridError: the expected map does not lie on the grid of the image's file.
        """
        if isinstance(expected, Tensor):
            where = "expected"
            _require_shape_of_file(expected, volume, where)
            theirs = expected.long()
            if not torch.equal(theirs.to(expected.dtype), expected):
                raise DataError(f"{where}: a label map must hold integers")
        else:
            where = str(expected)
            theirs = read_source_labels(Path(expected), volume.name, volume.source)
        require_own_integers(self.labels, theirs, where)
        found = agreement(self.labels, self.predict(volume, resample=resample), theirs)
        return {row.label: row.dice for row in found}

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
            self.labels.channels(label)
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

        Raises:
            DataError: the truth holds integers, and none of the labels'.
        """
        if truth is not None:
            foreign_integers(truth.long(), self.labels, f"{volume.name}: truth")
        return target.freeze(Scene(self, volume, truth))


def load_model(
    network: nn.Module | Sequence[nn.Module],
    *,
    window: Sequence[int],
    labels: LabelsGiven,
    overlap: float = 0.5,
    blend: Blend = "gaussian",
    activation: Activation = "softmax",
    region_order: Sequence[OrderEntry] | None = None,
    ignore_label: int | None = None,
    threshold: float | Mapping[str, float] | None = None,
    postprocessing: Mapping[str, Any] | None = None,
    weights: str | Path | Sequence[str | Path] | None = None,
    weights_key: str | None = None,
    output: int | str | None = None,
    batch_size: int = 1,
    precision: Precision = "fp32",
    device: str = "auto",
    in_channels: int | None = None,
    slice_axis: int = 2,
    padding: Padding = "zeros",
    mirror: Sequence[int] = (),
    average: Average = "logits",
    positions: Placing = "fixed",
) -> SegmentationModel:
    """Wrap any segmentation network for explanation, or an ensemble of one architecture.

    Args:
        network: from `B C *window` to logits, or several, where each has its weights; that inside
            a compiled or data parallel one.
        window: lengths of what goes in; two for a 2D network. Outputs may be smaller.
        labels: name of each label integer, or the integers of each name, such as
            `{"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}`.
        overlap: of neighbouring windows, in [0, 1).
        blend: `gaussian` or `constant`, or `nnunet`, its Gaussian without a floor.
        activation: `softmax` or `sigmoid`.
        region_order: labels in the order in which they are painted, later ones win; or the
            integers that they paint, as nnU-Net's `regions_class_order`.
        ignore_label: integer of voxels of a truth whose label is unknown.
        threshold: probability above which labels are predicted under sigmoid: one, or by label.
        postprocessing: `keep_largest`, `min_volume_ml` and `fill_holes`, by label.
        weights: safetensors or checkpoint to load first; several, for an ensemble of folds.
        weights_key: where in the checkpoint they lie, such as `ema.state`.
        output: index, key or attribute of the logits, where the network returns several tensors.
        batch_size: windows at a time.
        precision: fp32, bf16 or fp16.
        device: auto, cpu, cuda or cuda:1.
        in_channels: input channels, where the first convolution does not tell.
        slice_axis: axis along which a 2D network goes through a volume.
        padding: what windows see outside of the image: `zeros`, its `edge`, or `reflect`.
        mirror: axes of the window; each is seen once for every choice among them.
        average: of mirrored passes and networks: `logits` or `probabilities`.
        positions: of windows: at `fixed` steps, as in MONAI, or `even`, as in nnU-Net.
    """
    place = resolve_device(device)
    given = [network] if isinstance(network, nn.Module) else list(network)
    notes = [COMPILED_NOTE] if any(is_compiled(one) for one in given) else []
    networks = [without_wrappers(one).to(place) for one in given]
    network = networks[0]
    states, said = _load(networks, weights, weights_key)
    notes += said
    passes = list_passes(mirror, max(1, len(states)))
    plan = WindowPlan(
        tuple(window),
        overlap,
        blend,
        slice_axis,
        padding,
        passes=passes,
        average=average,
        positions=positions,
    )
    signature = convolution_signature(network)
    channels = in_channels or (signature[1] if signature is not None else 1)
    chosen = OutputChoice(output)
    probe = probe_output(network, plan.size, channels, output=chosen)
    plan = replace(plan, coverage=probe.coverage)
    found = Labels.of(
        labels,
        activation,
        probe.num_outputs,
        region_order=region_order,
        ignore_label=ignore_label,
        threshold=threshold,
        postprocessing=postprocessing,
    )
    if len(networks) > 1:
        generator = torch.Generator().manual_seed(0)
        trial = torch.randn((1, channels, *plan.size), generator=generator).to(place)
        require_same_function(networks, states, _names(networks), trial, output=chosen)
    model = SegmentationModel(
        network, plan, found, batch_size, precision, output=chosen, states=states
    )
    empty = empty_window(network, plan.size, channels)
    notes += [probe.note, probabilities_in(model, empty, probe.logits)]
    return replace(model, notes=tuple(note for note in notes if note))


def _load(
    networks: Sequence[nn.Module],
    weights: str | Path | Sequence[str | Path] | None,
    key: str | None,
) -> tuple[tuple[State, ...], list[str]]:
    """Load weights; return the states of the networks of an ensemble, and what is to be known."""
    if weights is None:
        return join_members(networks, _names(networks)), []
    files = [weights] if isinstance(weights, (str, Path)) else list(weights)
    if len(networks) > 1 or not files:
        raise ConfigError(
            f"{len(files)} files of weights for {len(networks)} networks",
            hint="give one network and the files of its folds, or networks with their weights",
        )
    if len(files) == 1:
        return (), list(load_weights(networks[0], Path(files[0]), key=key).notes)
    return load_members(networks[0], [Path(file) for file in files], key=key), []


def _names(networks: Sequence[nn.Module]) -> list[str]:
    return [f"network[{number}]" for number in range(len(networks))]


def save_label_map(path: str | Path, label_map: LabelMap, volume: Volume) -> None:
    """Write a label map that `SegmentationModel.predict` returned, on the grid of the image's file.

    Args:
        path: a .nii or .nii.gz.
        label_map: `*T` on the grid of the volume's source.
        volume: the image.

    Raises:
        GridError: the map is not of that shape.
    """
    _require_shape_of_file(label_map, volume, "label_map")
    write_source_labels(Path(path), label_map, volume.source)


def _require_shape_of_file(label_map: Tensor, volume: Volume, name: str) -> None:
    source = volume.source.grid
    if tuple(label_map.shape) != source.shape:
        raise GridError(
            f"{name}: {shape_text(tuple(label_map.shape))} voxels, but the image's file has "
            f"{shape_text(source.shape)}",
            hint="give a label map on the grid of the image's file, as model.predict returns it",
        )


def load_label_map(
    path: str | Path,
    volume: Volume,
    *,
    orientation: str | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> LabelMap:
    """Load a ground truth onto the grid of a volume, for `SegmentationModel.freeze`.

    It goes the way that the volume went: orientation, spacing, boxes and order of axes.

    Args:
        path: label integers on the grid of the volume's file.
        volume: as `load_volume` returned it.
        orientation: needed no more; if it is given, it must be that of the volume.
        spacing_mm: likewise.

    Raises:
        DataError: the values are not integers.
        GridError: the map does not lie on the grid of the volume's file, or orientation and
            spacing are not those of the volume.
    """
    spacing = tuple(float(value) for value in spacing_mm) if spacing_mm else None
    labels = read_label_map(Path(path), volume, Preprocess(orientation, spacing))
    same = _went_so(volume, orientation, spacing)
    if not same or tuple(labels.shape) != volume.grid.shape:
        raise GridError(
            f"{path}: {shape_text(tuple(labels.shape))} voxels, but the volume has "
            f"{shape_text(volume.grid.shape)}"
            if same
            else f"{path}: the volume was not loaded with this orientation and spacing_mm",
            hint="give orientation and spacing_mm as for the image, or leave both out",
        )
    return labels


def _went_so(volume: Volume, orientation: str | None, spacing_mm: tuple[float, ...] | None) -> bool:
    """Tell whether a volume that went anywhere has this orientation and spacing, where given."""
    moves = volume.route.moves
    if not moves:
        return True
    turned = orientation is None or Orient(orientation) in moves
    spacings = [move.spacing_mm for move in moves if isinstance(move, Respace)]
    return turned and (spacing_mm is None or spacing_mm in spacings)
