"""A predictor that makes targets of its own labels, and compares itself with your pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from esegeta.api.label_maps import label_integers, require_shape_of_file
from esegeta.axes import LabelMap
from esegeta.config.targets import WHOLE_MAP, default_region
from esegeta.errors import ConfigError, TargetError, suggest
from esegeta.explain import CaptumFunction, Objective
from esegeta.model import find_layer, foreign_integers
from esegeta.predict import GridRule, Predictor, agreement, require_own_integers
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
    Case,
    Preprocess,
    Reading,
    Volume,
    image_stem,
    read_case,
    read_source_labels,
)

REDUCES: dict[str, Reduce] = {"sum": "sum", "mean": "mean"}
RULES: dict[str, GridRule] = {rule: rule for rule in get_args(GridRule)}
MASKS = {"frozen": False, "live": True}


@dataclass(frozen=True)
class OwnImages:
    """How images are read, prepared and put back, as a trained model's folder says.

    Args:
        reading: how files are read.
        preprocess: steps that images go through.
        resample: part of a prediction that is put back on the grid of the file.
    """

    reading: Reading
    preprocess: Preprocess
    resample: GridRule


@dataclass(frozen=True, eq=False, repr=False)
class SegmentationModel(Predictor):
    """A predictor that makes targets of its own labels; explainers take it as their model.

    Args:
        notes: what the user should know of network, weights and outputs.
        images: what the model's folder says about images; None for a network without a folder.
    """

    notes: tuple[str, ...] = ()
    images: OwnImages | None = None

    def load_volume(
        self,
        path: str | Path | Sequence[str | Path],
        *,
        name: str | None = None,
        series: str | Sequence[str] = (),
    ) -> Volume:
        """Load an image as the folder of the model says, preprocessing included.

        Args:
            path: one file or DICOM folder, or one per channel.
            name: name of the case; the file's name by default.
            series: UID or description, where a DICOM folder holds several; or one per image.

        Raises:
            ConfigError: the model came without a folder; `esegeta.load_volume` takes the steps.
            DataError: a file cannot be read, or the channels are too many or too few.
        """
        if self.images is None:
            raise ConfigError(
                "load_volume: the model does not say how its images are prepared",
                hint="use esegeta.load_volume, with orientation, spacing and intensity as in "
                "training; load_nnunet and load_bundle know them",
            )
        paths = (path,) if isinstance(path, (str, Path)) else tuple(path)
        files = tuple(Path(item) for item in paths)
        case = Case(
            name or image_stem(files[0].absolute().name),
            files,
            series=(series,) if isinstance(series, str) else tuple(series),
        )
        volume, _ = read_case(case, self.images.preprocess, self.images.reading)
        return volume

    def _rule(self, given: str | None) -> GridRule:
        """Return what is put back on the file's grid: the given word, else the folder's."""
        usual: GridRule = "logits" if self.images is None else self.images.resample
        word = usual if given is None else given
        if word not in RULES:
            raise ConfigError(f'resample: "{word}" is not known', hint=suggest(word, RULES))
        return RULES[word]

    def predict(self, volume: Volume, *, resample: str | None = None) -> LabelMap:
        """Return the label map of an image, `*T` on the grid of its file.

        `save_label_map` writes it there.

        Args:
            volume: the image.
            resample: the part put back on the file's grid, where spacing or place differ: `logits`
                or `probabilities`, which are decided there, or `labels`, decided before. As the
                folder of the model says, or `logits`, by default.

        Raises:
            ConfigError: the rule does not exist.
            ModelError: the logits are not finite.
        """
        return Scene(self, volume).on_source(self._rule(resample)).label_map

    def compare(
        self,
        volume: Volume,
        expected: str | Path | Tensor | NDArray[np.generic],
        *,
        resample: str | None = None,
    ) -> dict[str, float]:
        """Return the Dice of each label with your own segmentation by the same network.

        Below about 0.99, this prediction is not the same as yours; docs/pipeline.md lists causes.

        Args:
            volume: the image.
            expected: label integers on the grid of the image's file: a file, or `*T`, a tensor or a
                numpy array.
            resample: rule, as `predict` takes it.

        Raises:
            DataError: the expected integers are not those of the labels.
            GridError: the expected map does not lie on the grid of the image's file.
        """
        if isinstance(expected, (str, Path)):
            where = str(expected)
            theirs = read_source_labels(Path(expected), volume.name, volume.source)
        else:
            where = "expected"
            theirs = label_integers(expected, where)
            require_shape_of_file(theirs, volume, where)
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
                entropy, dice, volume_ml and unit, and those predicted as the label otherwise.
            reduce: `sum` or `mean` over the region's voxels; dice and volume_ml are sums.
            mask: `frozen` on the unperturbed prediction, or `live`; that of dice and volume_ml
                and of units is frozen.
            layer: name of the layer, for a unit.
            channel: channel of the layer's output, from 0, for a unit.

        Raises:
            LayerError: the layer does not exist; the nearest names are given.
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
                raise TargetError("of: unit cannot have mask: live; its region never changes")
            self.capability.require_hooks("of: unit")
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

    def as_captum(
        self, target: Target | FrozenTarget, volume: Volume | None = None
    ) -> CaptumFunction:
        """Return a target of the whole windowed prediction as Captum's forward function.

        Any class of `captum.attr` that takes a function explains with it, unchanged, such as
        `IntegratedGradients(model.as_captum(target, volume)).attribute(volume.batch)`.

        Args:
            target: target, frozen already or frozen here on the volume.
            volume: volume to freeze the target on; a frozen one knows its own.

        Raises:
            TargetError: the target is not frozen and no volume is given, whose prediction would
                decide over which voxels it is formed.
        """
        if isinstance(target, Target):
            if volume is None:
                raise TargetError(
                    "as_captum: the target is not frozen, so its voxels depend on a prediction",
                    hint="write model.as_captum(target, volume)",
                )
            target = self.freeze(target, volume)
        return CaptumFunction(Objective.of(self, target, volume or target.scene.volume))

    def freeze(
        self,
        target: Target,
        volume: Volume,
        *,
        truth: Tensor | NDArray[np.generic] | None = None,
    ) -> FrozenTarget:
        """Fix a target on a volume, so that several methods share one prediction.

        Args:
            target: target to freeze.
            volume: the image.
            truth: label map `*S` on the volume's grid, a tensor or a numpy array, for targets that
                need it.

        Raises:
            DataError: the truth holds integers, and none of the labels'.
        """
        known = None if truth is None else label_integers(truth, f"{volume.name}: truth")
        if known is not None:
            foreign_integers(known, self.labels, f"{volume.name}: truth")
        return target.freeze(Scene(self, volume, known))
