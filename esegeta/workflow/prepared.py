"""Methods and scores made ready for a case: files read, patterns learned and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from esegeta.explain import Explainer, PatternNet, Patterns, baselines_of, fit_patterns
from esegeta.model import file_sha256
from esegeta.score import Score
from esegeta.volume import Case, Volume, members, read_beside, read_label_map
from esegeta.workflow.build import Experiment
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.plans import atlas_file, baseline_files

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
        image = read_beside(files, volume, experiment.preprocess, experiment.reading)
        filled = baseline.with_values(image.data)
        if place is None:
            changes[name] = filled
        else:
            entries = changes.get(name, getattr(work, name))
            changes[name] = (*entries[:place], filled, *entries[place + 1 :])
    return replace(work, **changes) if changes else work


_KEYS: WeakKeyDictionary[Experiment, str] = WeakKeyDictionary()
_FITTED: WeakKeyDictionary[Experiment, Patterns] = WeakKeyDictionary()


def with_patterns(explainer: Explainer, experiment: Experiment) -> Explainer:
    """Return an explainer whose patterns, if it needs any, are read or learned.

    Raises:
        EsegetaError: its file cannot be read, or a case cannot.
    """
    changes: dict[str, Any] = {}
    for item in fields(explainer):
        value = getattr(explainer, item.name)
        if isinstance(value, Explainer):
            changes[item.name] = with_patterns(value, experiment)
    if isinstance(explainer, PatternNet) and explainer.fitted is None:
        changes["fitted"] = (
            patterns_of(experiment)
            if explainer.patterns is None
            else Patterns.load(experiment.config.find_file(explainer.patterns))
        )
    return replace(explainer, **changes) if changes else explainer


def patterns_of(experiment: Experiment) -> Patterns:
    """Return the patterns of a run: from its folder, or learned from its cases and kept there."""
    if experiment not in _FITTED:
        path = patterns_path(experiment)
        if path.is_file():
            _FITTED[experiment] = Patterns.load(path)
        else:
            found = fit_patterns(experiment.predictor, _volumes(experiment))
            found.save(path)
            _FITTED[experiment] = found
    return _FITTED[experiment]


def patterns_path(experiment: Experiment) -> Path:
    """Return where the patterns of a run lie, named by all that decides them."""
    return experiment.root / f"patterns-{patterns_key(experiment)[:12]}.safetensors"


def patterns_fingerprint(explainer: Explainer, experiment: Experiment) -> str | None:
    """Return what decides the patterns of an explainer, or None where it needs none."""
    if not isinstance(explainer, PatternNet):
        return None
    if explainer.patterns is None:
        return patterns_key(experiment)
    file = experiment.config.find_file(explainer.patterns)
    return file_sha256(file) if file.is_file() else None


def patterns_key(experiment: Experiment) -> str:
    """Return the SHA-256 of network, windows, preprocessing and the images of all cases."""
    if experiment not in _KEYS:
        keys = experiment.config.keys
        images = [
            file for case in experiment.cases for path in case.images for file in members(path)
        ]
        parts = {
            "weights": experiment.weights_sha256,
            "code": experiment.code_sha256,
            "model": keys.model.model_dump(mode="json"),
            "preprocess": keys.data.preprocess.model_dump(mode="json"),
            **keys.data.reading_parts(),
            "told": [case.told for case in experiment.cases],
            "inference": keys.inference.model_dump(mode="json"),
            "images": [file_sha256(path) if path.is_file() else None for path in images],
        }
        _KEYS[experiment] = fingerprint(parts)
    return _KEYS[experiment]


def _volumes(experiment: Experiment) -> Iterator[Volume]:
    """Read the cases one at a time."""
    for case in experiment.cases:
        volume, _ = experiment.read(case)
        yield volume.to(experiment.device)
