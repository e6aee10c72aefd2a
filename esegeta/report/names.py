"""Where the files of a run lie; the names are a contract."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

UNFIT_FOR_FILES = re.compile(r'[\s./\\:*?"<>|]')
"""What separates the parts of a layer's name, and what no file name should hold."""

ENDINGS = re.compile(
    r"(stat-(stderr|spread)_|member-\d+_)?attrmap\.nii\.gz|attrmap\.json|layer-.+_layermap\.nii\.gz|(overlay|regions|curves)\.png"
)
"""What follows `_desc-<method>_` in the names of a unit's files."""


@dataclass(frozen=True)
class TaskFiles:
    """The files of one task, case x target x method.

    Args:
        root: the run's folder.
        case: name of the case.
        target: name of the target.
        method: id of the method.
    """

    root: Path
    case: str
    target: str
    method: str

    @property
    def map(self) -> Path:
        """The map summed over channels; written last."""
        return self._file("", "attrmap.nii.gz")

    @property
    def sidecar(self) -> Path:
        """What the map is, in JSON."""
        return self._file("", "attrmap.json")

    @property
    def overlay(self) -> Path:
        """The picture."""
        return self._file("", "overlay.png")

    def channel_map(self, channel: str) -> Path:
        """The map of one input channel."""
        return self._file(f"_chan-{channel}", "attrmap.nii.gz")

    @property
    def regions(self) -> Path:
        """The picture of shares and sums by region."""
        return self._file("", "regions.png")

    @property
    def curves(self) -> Path:
        """The picture of the curves behind the scores."""
        return self._file("", "curves.png")

    @property
    def standard_error(self) -> Path:
        """The standard error of each voxel of a map that does not tell channels apart."""
        return self._file("", "stat-stderr_attrmap.nii.gz")

    def channel_standard_error(self, channel: str) -> Path:
        """The standard error of each voxel of one channel's map."""
        return self._file(f"_chan-{channel}", "stat-stderr_attrmap.nii.gz")

    @property
    def spread(self) -> Path:
        """The standard deviation over members of the map summed over channels."""
        return self._file("", "stat-spread_attrmap.nii.gz")

    def member_map(self, number: int) -> Path:
        """The map of one member, counted from 1, summed over channels."""
        return self._file("", f"member-{number}_attrmap.nii.gz")

    def layer_map(self, layer: str) -> Path:
        """The map of a layer on the layer's own grid."""
        part = UNFIT_FOR_FILES.sub("-", layer) or "network"
        return self._file("", f"layer-{part}_layermap.nii.gz")

    def owns(self, name: str) -> bool:
        """Tell whether a file of this name is one of this unit's."""
        channel, _, ending = name.removeprefix(f"{self.case}_label-{self.target}_").rpartition(
            f"desc-{self.method}_"
        )
        known = ENDINGS.fullmatch(ending) is not None
        return known and (not channel or channel.startswith("chan-"))

    def _file(self, channel: str, ending: str) -> Path:
        name = f"{self.case}_label-{self.target}{channel}_desc-{self.method}_{ending}"
        return self.root / self.case / name


@dataclass(frozen=True)
class PredictionFiles:
    """The files of one case's predicted segmentation."""

    root: Path
    case: str

    @property
    def segmentation(self) -> Path:
        """Label integers on the source's grid; written last."""
        return self._file("nii.gz")

    @property
    def table(self) -> Path:
        """Index, name and colour of each label."""
        return self._file("tsv")

    @property
    def sidecar(self) -> Path:
        """Where the segmentation comes from."""
        return self._file("json")

    def _file(self, suffix: str) -> Path:
        return self.root / self.case / f"{self.case}_desc-prediction_dseg.{suffix}"
