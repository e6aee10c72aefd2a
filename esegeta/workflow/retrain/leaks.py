"""Where the ground truth of a held-out image gets into the map that ranks its voxels."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Mapping
from pathlib import Path

from esegeta.explain import Explainer, baselines_of
from esegeta.volume import Case
from esegeta.workflow import Experiment
from esegeta.workflow.plans import TargetPlan, atlas_file, baseline_files, nested

CONSEQUENCE = "what is kept or removed reveals the label, which alone may raise Dice; use "


def leak_of_target(target: TargetPlan, experiment: Experiment) -> str:
    """Return what is said of a target that looks at the ground truth, or nothing.

    Args:
        target: what the maps explain; parts of a combination are looked at too.
        experiment: the experiment, with its cases.
    """
    by_file = any(
        _is_truth(file, case) for case in experiment.cases for file in _masks(target, case)
    )
    if not (target.wants_truth or by_file):
        return ""
    return (
        f'target "{target.name}" uses the ground truth, and so do the maps that rank the '
        f"voxels of held-out images: {CONSEQUENCE}a target over predicted voxels"
    )


def leaks_of_methods(methods: Mapping[str, Explainer], experiment: Experiment) -> Iterator[str]:
    """Yield what is said of each method that reads the ground truth as its features or baseline.

    Args:
        methods: methods by id.
        experiment: the experiment, with its cases.
    """
    for identity, method in methods.items():
        read = (_files(method, case, experiment) for case in experiment.cases)
        pairs = zip(read, experiment.cases, strict=True)
        if any(_is_truth(file, case) for files, case in pairs for file in files):
            yield (
                f'method "{identity}" reads the ground truth of held-out images (features or '
                f"baseline): {CONSEQUENCE}features that do not depend on it"
            )


def _masks(target: TargetPlan, case: Case) -> Iterator[Path | None]:
    yield target.roi_file(case)
    for part in target.parts.values():
        yield from _masks(part, case)


def _files(method: Explainer, case: Case, experiment: Experiment) -> Iterator[Path]:
    for work in nested(method):
        atlas = atlas_file(work, case, experiment.config)
        if atlas is not None:
            yield atlas
        for _, _, baseline in baselines_of(work):
            yield from baseline_files(baseline, case, experiment.config)


def _is_truth(file: Path | None, case: Case) -> bool:
    """Tell whether a file is the ground truth of a case, under whatever name."""
    if file is None or case.label is None or not file.is_file():
        return False
    return filecmp.cmp(file, case.label, shallow=False)
