"""Explainers with the files that they name read in: images of baselines, atlases of features."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from esegeta.explain import Explainer, baselines_of
from esegeta.run.build import Experiment
from esegeta.run.files import atlas_file, baseline_files
from esegeta.volume import Case, Volume, read_case, read_label_map


def with_files(
    explainer: Explainer, case: Case, experiment: Experiment, volume: Volume
) -> Explainer:
    """Return an explainer with the files that it names, if any, read for this case."""
    config = experiment.config
    changes: dict[str, Any] = {}
    for item in fields(explainer):
        value = getattr(explainer, item.name)
        if isinstance(value, Explainer):
            changes[item.name] = with_files(value, case, experiment, volume)
    atlas = atlas_file(explainer, case, config)
    if atlas is not None:
        labels = read_label_map(atlas, volume, experiment.preprocess)
        changes["features"] = getattr(explainer, "features").with_labels(labels)  # noqa: B009
    for name, place, baseline in baselines_of(explainer):
        files = baseline_files(baseline, case, config)
        if not files:
            continue
        image, _ = read_case(Case(case.name, files), experiment.preprocess, experiment.reading)
        filled = baseline.with_values(image.data)
        if place is None:
            changes[name] = filled
        else:
            entries = changes.get(name, getattr(explainer, name))
            changes[name] = (*entries[:place], filled, *entries[place + 1 :])
    return replace(explainer, **changes) if changes else explainer
