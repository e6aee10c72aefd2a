"""Methods and scores with the files that they name read in: baselines, atlases of features."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from esegeta.explain import Explainer, baselines_of
from esegeta.score import Score
from esegeta.volume import Case, Volume, read_case, read_label_map
from esegeta.workflow.build import Experiment
from esegeta.workflow.files import atlas_file, baseline_files

Work = TypeVar("Work", bound=Explainer | Score)


def with_files(work: Work, case: Case, experiment: Experiment, volume: Volume) -> Work:
    """Return a method or score with the files that it names, if any, read for this case."""
    config = experiment.config
    changes: dict[str, Any] = {}
    for item in fields(work):
        value = getattr(work, item.name)
        if isinstance(value, (Explainer, Score)):
            changes[item.name] = with_files(value, case, experiment, volume)
    atlas = atlas_file(work, case, config)
    if atlas is not None:
        labels = read_label_map(atlas, volume, experiment.preprocess)
        changes["features"] = getattr(work, "features").with_labels(labels)  # noqa: B009
    for name, place, baseline in baselines_of(work):
        files = baseline_files(baseline, case, config)
        if not files:
            continue
        image, _ = read_case(Case(case.name, files), experiment.preprocess, experiment.reading)
        filled = baseline.with_values(image.data)
        if place is None:
            changes[name] = filled
        else:
            entries = changes.get(name, getattr(work, name))
            changes[name] = (*entries[:place], filled, *entries[place + 1 :])
    return replace(work, **changes) if changes else work
