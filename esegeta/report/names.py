"""Where the files of a run lie; the names are a contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UnitFiles:
    """The files of one unit of work, case x target x method.

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
