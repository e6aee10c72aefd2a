"""features.json and features.csv: which pictures were made, of what, and how real they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from esegeta.report import write_rows
from esegeta.results_folder import ANALYSES
from esegeta.workflow.command import CommandState
from esegeta.workflow.features.build import FeatureJob
from esegeta.workflow.record import describe_basis, ending
from esegeta.workflow.standing import TaskRecord, sha256_by_path
from esegeta.workflow.task import Ended

COLUMNS = (
    "objective",
    "picture",
    "parametrisation",
    "start",
    "prior",
    "activation",
    "largest_real",
    "percentile",
    "of_largest",
    "total_variation",
    "high_frequency",
    "high_frequency_real",
    "distance",
    "distance_real",
    "nearest_case",
    "stability",
    "activation_std",
)


class FeatureRecorder:
    """Writes table and record from how tasks ended, each time whole.

    Args:
        job: what is made.
        inputs: SHA-256 of every file, by case and path.
        fit_only: no picture is made.
    """

    def __init__(
        self, job: FeatureJob, inputs: Mapping[str, Mapping[str, str]], *, fit_only: bool
    ) -> None:
        self._job, self._fit_only = job, fit_only
        head = {
            **describe_basis(job.basis),
            "command": "features fit" if fit_only else "features",
            "inputs_sha256": sha256_by_path(inputs),
            "about": {
                "percentile": "part of real patches with a smaller activation, in percent",
                "total_variation": "over the median of real patches",
                "high_frequency": "part of the power above half of the finest frequency",
                "distance": "to the nearest real patch, in standard deviations of the data",
                "distance_real": "median distance between real patches that do not overlap",
                "stability": "mean correlation between seeds, the mean patch taken off",
            },
        }
        path = job.folder / ("fit/fit.json" if fit_only else ANALYSES["features"])
        self._record = TaskRecord(path, head)

    def write(self, results: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
        """Write table and record as things stand."""
        if not self._fit_only:
            rows = [_row(ended) for ended in results if "activation" in ended.content]
            write_rows(self._job.folder / "features.csv", COLUMNS, rows)
        units = ({**ended.task.data["names"], **ending(ended)} for ended in results)
        self._record.write(state, notes, units)


def _row(ended: Ended) -> dict[str, Any]:
    known = {**ended.content, **ended.task.data["names"]}
    return {column: known.get(column) for column in COLUMNS}
