"""Folders of runs that never ran, with scans, maps and scores, as `esegeta run` leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.report import PredictionFiles, ScoreRow, TaskFiles, write_record, write_scores
from esegeta.volume import Grid
from esegeta.volume.nifti import write_nifti
from esegeta.volume.volume import Source

SHAPE = (24, 20, 16)
ABOVE, BELOW = (6, 10, 8), (17, 3, 2)
"""The middles of a map's two blobs, of 5 x 5 x 5 voxels: of values above and below zero."""

PEAK = 8.0
LABEL = "liver"


@dataclass
class FakeResults:
    """What a run's folder holds; change it, then write it.

    Args:
        name: of the run.
        cases: names.
        targets: names.
        methods: names of methods by id.
        affine: of all images.
        failed: the message of each task that failed, by case, target and method.
        scores: values by case, target, method and score.
        better: of each score that is not `lower`.
        config: joins the record's config.
        sidecar: joins every map's sidecar.
        channels: of the scan.
    """

    name: str = "demo"
    cases: tuple[str, ...] = ("torso",)
    targets: tuple[str, ...] = (LABEL,)
    methods: Mapping[str, str] = field(
        default_factory=lambda: {"saliency": "saliency", "hires_cam": "hires_cam"}
    )
    affine: np.ndarray = field(default_factory=lambda: np.diag([2.0, 2.0, 2.0, 1.0]))
    failed: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    scores: Mapping[tuple[str, str, str, str], float | None] = field(default_factory=dict)
    better: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ("0",)

    def write(self, folder: Path) -> Path:
        """Write the run's folder and, beside it, its images; return the folder."""
        root = folder / self.name.replace("/", "-")
        grid = Grid(SHAPE, self.affine)
        for case in self.cases:
            for channel in self.channels:
                write_nifti(self.image(folder, case, channel), scan(), Source(grid), intent="none")
            self._write_prediction(root, case, grid)
            for target in self.targets:
                for place, method in enumerate(self.methods):
                    if (case, target, method) not in self.failed:
                        files = TaskFiles(root, case, target, method)
                        self._write_map(files, grid, (-1) ** place)
        write_record(root, self._record(folder))
        if self.scores:
            rows = [
                ScoreRow(*key, value, self.better.get(key[3], "lower"))
                for key, value in self.scores.items()
            ]
            write_scores(root, rows)
        return root

    def image(self, folder: Path, case: str, channel: str) -> Path:
        """Return where a channel of a case's image lies."""
        return folder / "images" / f"{self.cases.index(case)}_{channel}.nii.gz"

    def _write_prediction(self, root: Path, case: str, grid: Grid) -> None:
        files = PredictionFiles(root, case)
        write_nifti(files.segmentation, labels(), Source(grid), intent="label")
        files.table.write_text(f"index\tname\tcolor\n0\tbackground\t#000000\n1\t{LABEL}\t#009e73\n")

    def _write_map(self, files: TaskFiles, grid: Grid, sign: int) -> None:
        write_nifti(files.map, sign * signed_map(), Source(grid), intent="estimate")
        files.overlay.write_bytes(PNG)
        sidecar = {
            "method": self.methods[files.method],
            "parameters": {},
            "target": f"sum of logit of {LABEL} over predicted",
            "unit": "logit",
            "meaning": "contribution",
            "sign": "positive values raise the target",
            "colours": ["red: raises the liver score", "blue: lowers it"],
            "facts": {"seconds": 1.5, "active_windows": 2, "num_windows": 4},
            "warnings": [],
            "channels": list(self.channels),
            "files": [files.overlay.name, files.map.name],
            **self.sidecar,
        }
        files.sidecar.write_text(json.dumps(sidecar))

    def _record(self, folder: Path) -> dict[str, Any]:
        cases = [
            {
                "name": case,
                "image": [str(self.image(folder, case, channel)) for channel in self.channels],
            }
            for case in self.cases
        ]
        methods = [{"name": name, "id": key} for key, name in self.methods.items()]
        targets = [{"name": name, "label": LABEL} for name in self.targets]
        names = dict.fromkeys(score for *_, score in self.scores)
        return {
            "esegeta": "0.1.0",
            "state": "complete",
            "config": {
                "name": self.name,
                "data": {"cases": cases, "preprocess": {"intensity": {"window": [-50, 150]}}},
                "inference": {"window": [8, 8, 8]},
                "methods": methods,
                "targets": targets,
                "scores": [{"name": name} for name in names],
                **self.config,
            },
            "methods": {key: {} for key in self.methods},
            "scores": {name: {} for name in names},
            "versions": {"python": "3.11", "torch": "2"},
            "weights_sha256": "abc123",
            "units": [
                {
                    "case": case,
                    "target": target,
                    "method": method,
                    "status": "failed" if (case, target, method) in self.failed else "done",
                    "message": self.failed.get((case, target, method), ""),
                    "warnings": [],
                }
                for case in self.cases
                for target in self.targets
                for method in self.methods
            ],
        }


def scan() -> np.ndarray:
    """Return whole numbers from 0 to 99, of which all three axes can be told."""
    x, y, z = np.indices(SHAPE)
    return ((3 * x + 2 * y + z) % 100).astype(np.float32)


def labels() -> np.ndarray:
    """Return a box of label 1 around the blob of values above zero."""
    return around(ABOVE, 4).astype(np.float32)


def signed_map() -> np.ndarray:
    """Return two blobs, each with its peak in its middle, and dust."""
    x, y, z = np.indices(SHAPE)
    dust = 0.001 * PEAK * np.sin(x + 2.0 * y + 3.0 * z)
    found = np.where(around(ABOVE, 2), 0.8 * PEAK, dust)
    found = np.where(around(BELOW, 2), -0.7 * PEAK, found)
    found[ABOVE], found[BELOW] = PEAK, -0.9 * PEAK
    return found.astype(np.float32)


def around(middle: tuple[int, ...], radius: int) -> np.ndarray:
    """Return a mask of the cube around a voxel."""
    away = [np.abs(axis - at) for axis, at in zip(np.indices(SHAPE), middle, strict=True)]
    return np.asarray(np.max(away, axis=0) <= radius)


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""A picture of one red pixel."""
