"""Where the files of a run lie, whose names are a contract; its record, and the marks of BIDS."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esegeta.errors import RunError, suggest
from esegeta.plain_json import parse_json
from esegeta.report.file_names import hyphenated
from esegeta.report.shapes import RunTold, require_told
from esegeta.results_folder import ANALYSES, DATASET, REPORT, RUN_RECORD, TABLES
from esegeta.volume import json_before_list, write_json, write_text

ENDINGS = re.compile(
    r"(stat-(stderr|spread)_|member-\d+_)?attrmap\.(nii\.gz|dcm)|attrmap\.json|layer-.+_layermap\.nii\.gz|(overlay|regions)\.png"
)
"""What follows `_desc-<method>_` in the names of a task's files."""

CURVES_ENDING = "_curves.png"


def dicom_beside(path: Path) -> Path:
    """Return where the DICOM object of a NIfTI file lies: the same name with .dcm."""
    return path.with_name(path.name.removesuffix(".nii.gz") + ".dcm")


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
    def dicom(self) -> Path:
        """The same map as a DICOM Parametric Map."""
        return dicom_beside(self.map)

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
        part = hyphenated(layer) or "network"
        return self._file("", f"layer-{part}_layermap.nii.gz")

    def owns(self, name: str) -> bool:
        """Tell whether a file of this name is one of this task's."""
        channel, _, ending = name.removeprefix(f"{self.case}_label-{self.target}_").rpartition(
            f"desc-{self.method}_"
        )
        known = ENDINGS.fullmatch(ending) is not None
        return known and (not channel or channel.startswith("chan-"))

    def _file(self, channel: str, ending: str) -> Path:
        name = f"{self.case}_label-{self.target}{channel}_desc-{self.method}_{ending}"
        return self.root / self.case / name


@dataclass(frozen=True)
class CurveFiles:
    """The pictures of the curves of one case and target, one per score.

    Args:
        root: the run's folder.
        case: name of the case.
        target: name of the target.
    """

    root: Path
    case: str
    target: str

    def of_score(self, score: str) -> Path:
        """The picture of one score, all methods on one axis."""
        return self.root / self.case / f"{self._start}{score}{CURVES_ENDING}"

    def remove_others(self, scores: Collection[str]) -> None:
        """Remove the pictures of an earlier run, except those of some scores."""
        kept = {self.of_score(score) for score in scores}
        for path in (self.root / self.case).glob("*.png"):
            is_one = path.name.startswith(self._start) and path.name.endswith(CURVES_ENDING)
            if is_one and path not in kept:
                path.unlink()

    @property
    def _start(self) -> str:
        return f"{self.case}_label-{self.target}_score-"


def scene_file(root: Path, case: str, target: str) -> Path:
    """Return where the scene for 3D Slicer of one case and target lies."""
    return root / case / f"{case}_{target}.mrb"


@dataclass(frozen=True)
class PredictionFiles:
    """The files of one case's predicted segmentation."""

    root: Path
    case: str

    @property
    def segmentation(self) -> Path:
        """Label integers on the source's grid; written last."""
        return self._file("nii.gz")

    def mask(self, label: str) -> Path:
        """The mask of one label that may overlap others."""
        return self._of_label(label, "mask")

    def probability(self, label: str) -> Path:
        """The probability of one label."""
        return self._of_label(label, "probseg")

    @property
    def beside(self) -> list[Path]:
        """The masks and probabilities that are there, of whatever labels."""
        folder, start = self.segmentation.parent, f"{self.case}_label-"
        endings = ("_desc-prediction_mask.nii.gz", "_desc-prediction_probseg.nii.gz")
        found = folder.glob("*.nii.gz")
        return [p for p in found if p.name.startswith(start) and p.name.endswith(endings)]

    @property
    def table(self) -> Path:
        """Index, name and colour of each label."""
        return self._file("tsv")

    @property
    def descriptions(self) -> Path:
        """Label descriptions for ITK-SNAP."""
        return self._file("label")

    @property
    def lookup_table(self) -> Path:
        """Lookup table for FSLeyes."""
        return self._file("lut")

    @property
    def color_table(self) -> Path:
        """Color table for 3D Slicer."""
        return self._file("ctbl")

    @property
    def dicom(self) -> Path:
        """The labels as a DICOM Segmentation."""
        return self._file("dcm")

    @property
    def sidecar(self) -> Path:
        """Where the segmentation comes from."""
        return self._file("json")

    def _file(self, suffix: str) -> Path:
        return self._beside("", f"dseg.{suffix}")

    def _of_label(self, label: str, suffix: str) -> Path:
        part = hyphenated(label).replace("#", "-")
        return self._beside(f"_label-{part}", f"{suffix}.nii.gz")

    def _beside(self, label: str, ending: str) -> Path:
        return self.root / self.case / f"{self.case}{label}_desc-prediction_{ending}"


PREDICT = "predict"
"""The command that a record names which is of predictions alone."""

NOT_OF_BIDS = (
    RUN_RECORD,
    *TABLES,
    "retrain/",
    "*_attrmap.*",
    "*_layermap.*",
    "*_overlay.png",
    "*_regions.png",
    "*_curves.png",
    "*_dseg.label",
    "*_dseg.lut",
    "*_dseg.ctbl",
    "*.mrb",
    "*_dseg.dcm",
    *(f"{name}/" for name in ANALYSES),
    f"{REPORT}/",
)
"""What the BIDS validator ignores."""


def write_dataset_files(root: Path, name: str) -> None:
    """Write what makes the folder a BIDS derivative, and what its validator ignores."""
    from esegeta import __version__

    write_json(
        root / DATASET,
        {
            "Name": name,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "esegeta", "Version": __version__}],
        },
    )
    write_text(root / ".bidsignore", "".join(f"{pattern}\n" for pattern in NOT_OF_BIDS))


UNITS = "units"
"""The key of run.json under which the tasks stand, behind all that is said of the run itself."""


def write_record(root: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_json(root / RUN_RECORD, record)


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """Read a sidecar; None where no readable one is there."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_record_head(root: Path) -> dict[str, Any]:
    """Return what run.json says before it comes to its tasks, of which there may be very many.

    There is nothing where it is missing, or not as `write_record` writes it.
    """
    try:
        with (root / RUN_RECORD).open(encoding="utf-8") as stream:
            content = parse_json(json_before_list(stream, UNITS))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_record(root: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        RunError: the folder is missing, holds no run or no readable record, or holds only
            predictions.
    """
    path = root / RUN_RECORD
    if not root.is_dir():
        siblings = sorted(other.name for other in root.parent.glob("*") if other.is_dir())
        raise RunError(f"{root}: no such folder", hint=suggest(root.name, siblings))
    if not path.is_file():
        inside = sorted(str(found.parent) for found in root.glob(f"*/{RUN_RECORD}"))
        hint = "`esegeta run` leaves run.json in <output>/<name>"
        raise RunError(
            f"{root}: not a run (run.json is missing)",
            hint=f"it contains runs: {' '.join(inside)}" if inside else hint,
        )
    record = require_told(path, RunTold)
    if record.get("command") == PREDICT:
        raise RunError(f"{root}: contains predictions but no maps", hint="`esegeta run` makes maps")
    return record
