"""All that a look inside a network needs, built from a config and checked."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from esegeta.config import RunConfig, blamed_on, required_block
from esegeta.config.inspect import InspectKeys
from esegeta.errors import ConfigError, LayerError, suggest
from esegeta.model import UnitLayer, find_unit_layers, held_still
from esegeta.predict import PassesApart, Predictor, empty_window
from esegeta.report.cells import name_in_cell
from esegeta.workflow.build import Basis, build_basis
from esegeta.workflow.checks import prefixed
from esegeta.workflow.members import of_member
from esegeta.workflow.outputs import check_writable


@dataclass(frozen=True, eq=False)
class Inspection:
    """Everything that a look inside needs.

    Args:
        basis: network and cases.
        keys: the config's `inspect`.
        layers: what is looked at.
    """

    basis: Basis
    keys: InspectKeys
    layers: tuple[UnitLayer, ...]

    @property
    def folder(self) -> Path:
        """Where the results lie."""
        return self.basis.root / "inspect"

    @property
    def watched(self) -> Predictor:
        """Whose layers are read: each mirrored pass is a run of the network by itself."""
        predictor = self.basis.predictor
        return PassesApart(predictor).single if predictor.averages_inside else predictor

    @property
    def shown_cases(self) -> list[str]:
        """Names of the cases whose activations are drawn and written."""
        names = [case.name for case in self.basis.cases]
        if self.keys.cases is None:
            return names[:1]
        return names if self.keys.cases == "all" else list(self.keys.cases)

    @property
    def units_table(self) -> Path:
        """Where a dissection of the same run has named the units."""
        return self.basis.root / "dissection" / "units.csv"


def build_inspection(
    config: RunConfig, *, output: Path | None = None, device: str | None = None
) -> Inspection:
    """Build and check a look inside without computing anything but one window of zeros.

    Raises:
        EsegetaError: the first thing found wrong with files, network, layers, channels or cases.
    """
    keys = required_block(
        config,
        "inspect",
        config.keys.inspect,
        hint="such as inspect: {layers: all, channels: 16}; docs/features.md has the keys",
    )
    basis = of_member(build_basis(config, output=output, device=device), keys.member, "inspect")
    predictor = basis.predictor
    with blamed_on(config, "inspect"):
        basis.capability.require_hooks("inspect")
    window = empty_window(predictor.network, predictor.plan.size, basis.reading.num_channels)
    with (
        blamed_on(config, "inspect", "layers"),
        prefixed("inspect.layers"),
        held_still(predictor.network),
    ):
        layers = find_unit_layers(predictor.network, keys.layers, window)
    job = Inspection(basis, keys, layers)
    _check_channels(config, job)
    _check_cases(config, job)
    if keys.by == "dissection" and not job.units_table.is_file():
        raise ConfigError(
            f"{config.document.place(('inspect', 'by'))}: inspect.by: dissection: there is no "
            f"dissection at {job.units_table.parent}",
            hint="run `esegeta dissect` with the same name and output first, or select by: "
            "variance",
        )
    check_writable(basis.root)
    return job


def _check_channels(config: RunConfig, job: Inspection) -> None:
    if isinstance(job.keys.channels, int):
        return
    with blamed_on(config, "inspect", "channels"):
        for layer in job.layers:
            for channel in job.keys.channels:
                if channel >= layer.num_units:
                    raise LayerError(
                        f'inspect.channels: layer "{layer.name}" has no channel {channel}',
                        hint=f"name channels from 0 to {layer.num_units - 1}, or say how many",
                    )


def _check_cases(config: RunConfig, job: Inspection) -> None:
    known = [case.name for case in job.basis.cases]
    for name in job.shown_cases:
        if name not in known:
            raise ConfigError(
                f'{config.document.place(("inspect", "cases"))}: inspect.cases: no case "{name}"',
                hint=suggest(name, known),
            )


@dataclass(frozen=True)
class NamedUnit:
    """What a dissection calls a unit."""

    layer: str
    unit: int
    concept: str
    iou: float


def named_units(path: Path) -> list[NamedUnit]:
    """Return the units that a dissection has named, those with the largest overlap first."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = [
        NamedUnit(row["layer"], int(row["unit"]), name_in_cell(row["concept"]), float(row["iou"]))
        for row in rows
        if row["named"] == "1"
    ]
    return sorted(found, key=lambda one: -one.iou)
