"""All that pictures need, built from a config and checked before any of it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esegeta.axes import Shape, shape_text
from esegeta.config import RunConfig, blamed_on, required_block
from esegeta.config.features import FeatureKeys
from esegeta.errors import ConfigError, TargetError, suggest
from esegeta.features import Subject
from esegeta.predict import empty_window, probe_output
from esegeta.report.file_names import hyphenated
from esegeta.volume import Grid
from esegeta.workflow.build import Basis, build_basis
from esegeta.workflow.features.objectives import PlannedObjective, plan_objectives
from esegeta.workflow.features.variants import Variant, variants_of
from esegeta.workflow.members import of_member
from esegeta.workflow.outputs import check_writable


@dataclass(frozen=True, eq=False)
class FeatureJob:
    """Everything that pictures need.

    Args:
        basis: network and cases.
        keys: the config's `features`.
        subject: the network over a whole picture.
        objectives: what pictures are to have much of.
        grids: of each case as the network sees it, by its name.
        thin: the axis of the cases along which a 2D network goes; None where there is none.
        spacing_mm: spacing of a picture's voxels, in mm.
    """

    basis: Basis
    keys: FeatureKeys
    subject: Subject
    objectives: tuple[PlannedObjective, ...]
    grids: Mapping[str, Grid]
    thin: int | None
    spacing_mm: tuple[float, ...]

    @property
    def folder(self) -> Path:
        """Where the pictures lie."""
        return self.basis.root / "features"

    @property
    def box(self) -> Shape:
        """Lengths of a patch along the axes of the cases."""
        size = list(self.keys.size)
        if self.thin is not None:
            size.insert(self.thin, 1)
        return tuple(size)

    def variants(self, objective: PlannedObjective) -> list[Variant]:
        """Return the pictures that are made for an objective."""
        return variants_of(self.keys, self.start_label(objective))

    def start_label(self, objective: PlannedObjective) -> str:
        """Return the label whose mean patch a picture starts from, where one does."""
        labels = self.basis.predictor.labels
        given = self.keys.start_label
        if given is None:
            return objective.label or labels.foreground[0]
        return labels.name(given)

    @property
    def needs_truth(self) -> bool:
        """Whether a picture starts from the mean patch of a label."""
        starts = [one.start for item in self.objectives for one in self.variants(item)]
        return "class_mean" in starts


def build_features(
    config: RunConfig, *, output: Path | None = None, device: str | None = None
) -> FeatureJob:
    """Build and check pictures without computing anything but a few passes of zeros.

    Args:
        config: the checked config.
        output: replaces the config's `output`.
        device: replaces the config's `device`.

    Raises:
        EsegetaError: the first thing found wrong with files, network, size, objectives or cases.
    """
    keys = required_block(
        config,
        "features",
        config.keys.features,
        hint="such as features: {objectives: [{label: liver}], size: [48, 48, 48]}; "
        "docs/features.md has the keys",
    )
    basis = of_member(build_basis(config, output=output, device=device), keys.member, "features")
    predictor = basis.predictor
    with blamed_on(config, "features"):
        predictor.capability.require_gradients("features", hint="give the network as a module")
    grids = basis.network_grids()
    thin = _thin_axis(basis, keys, grids)
    _check_size(config, keys, grids, thin)
    with blamed_on(config, "features", "size"):
        channels = basis.reading.num_channels
        probe = probe_output(
            predictor.network, keys.size, channels, output=predictor.output, key="features.size"
        )
    subject = Subject(
        predictor.network,
        predictor.output,
        probe.coverage,
        predictor.precision,
        predictor.memory_format,
    )
    zeros = empty_window(predictor.network, keys.size, channels)
    objectives = plan_objectives(config, keys, basis, subject, zeros)
    spacing = _spacing(grids, thin)
    job = FeatureJob(basis, keys, subject, objectives, grids, thin, spacing)
    _check_names(config, job)
    _check_expert(config, job)
    check_writable(basis.root)
    return replace(job, basis=replace(basis, notes=(*basis.notes, *_notes(job))))


def _thin_axis(basis: Basis, keys: FeatureKeys, grids: Mapping[str, Grid]) -> int | None:
    ndim = len(basis.predictor.plan.size)
    if len(keys.size) != ndim:
        place = basis.config.document.place(("features", "size"))
        raise ConfigError(
            f"{place}: features.size: {list(keys.size)} has {len(keys.size)} lengths, and the "
            f"network is {ndim}D",
            hint=f"give {ndim} lengths",
        )
    first = next(iter(grids.values()))
    return basis.predictor.plan.slice_axis if first.ndim > ndim else None


def _check_size(
    config: RunConfig, keys: FeatureKeys, grids: Mapping[str, Grid], thin: int | None
) -> None:
    for name, grid in grids.items():
        room = tuple(n for axis, n in enumerate(grid.shape) if axis != thin)
        if any(n > m for n, m in zip(keys.size, room, strict=True)):
            least = [min(n, m) for n, m in zip(keys.size, room, strict=True)]
            raise ConfigError(
                f"{config.document.place(('features', 'size'))}: features.size: no real patch of "
                f"{shape_text(keys.size)} fits into {name}, which the network sees as "
                f"{shape_text(room)}, so there is nothing to compare a picture with",
                hint=f"give at most {least}",
            )


def _spacing(grids: Mapping[str, Grid], thin: int | None) -> tuple[float, ...]:
    first = next(iter(grids.values()))
    return tuple(float(mm) for axis, mm in enumerate(first.spacing_mm) if axis != thin)


def _check_names(config: RunConfig, job: FeatureJob) -> None:
    """Refuse labels, cases and layers that are not there."""
    keys, names = job.keys, [case.name for case in job.basis.cases]
    _require_case(config, ("features", "start_case"), keys.start_case, names)
    if keys.dream is not None:
        _require_case(config, ("features", "dream", "case"), keys.dream.case, names)
    if keys.start_label is not None:
        with blamed_on(config, "features", "start_label"):
            labels = job.basis.predictor.labels
            if labels.is_background(keys.start_label):
                raise TargetError(
                    "features.start_label: the background has no class mean",
                    hint=suggest(keys.start_label, labels.foreground),
                )
    if job.needs_truth and all(case.label is None for case in job.basis.cases):
        where = ("features", "compare") if keys.start != "class_mean" else ("features", "start")
        raise ConfigError(
            f"{config.document.place(where)}: features: a class mean needs a ground truth, and no "
            "case has one",
            hint="give a case a `label:` file, or start from the mean",
        )
    files: dict[str, str] = {}
    for item in job.objectives:
        file = hyphenated(item.name)
        if file in files:
            raise ConfigError(
                f"{config.document.place(('features', 'objectives'))}: features.objectives: "
                f'"{files[file]}" and "{item.name}" would be one folder',
                hint="give one of them a `name`",
            )
        files[file] = item.name


def _require_case(
    config: RunConfig, place: tuple[str, ...], name: str | None, known: Sequence[str]
) -> None:
    if name is not None and name not in known:
        raise ConfigError(
            f'{config.document.place(place)}: {".".join(place)}: no case "{name}"',
            hint=suggest(name, known),
        )


def _check_expert(config: RunConfig, job: FeatureJob) -> None:
    keys = job.keys
    if keys.needs_expert and keys.expert.kind == "mixture" and keys.expert.patch > min(keys.size):
        raise ConfigError(
            f"{config.document.place(('features', 'expert'))}: features.expert.patch: "
            f"{keys.expert.patch} is more than the picture's {min(keys.size)} voxels",
            hint=f"give at most {min(keys.size)}",
        )


def _notes(job: FeatureJob) -> list[str]:
    spacings = {
        tuple(round(float(mm), 3) for axis, mm in enumerate(grid.spacing_mm) if axis != job.thin)
        for grid in job.grids.values()
    }
    if len(spacings) < 2:
        return []
    mine = "x".join(f"{mm:.4g}" for mm in job.spacing_mm)
    return [
        f"features: the voxels of the cases differ in size; pictures have {mine} mm, as the first "
        "case, and real patches are compared voxel by voxel: give preprocess.spacing_mm"
    ]
