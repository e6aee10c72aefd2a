"""Patterns of a run: learned once from all of its cases, kept in its folder, used again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from esegeta.explain import Explainer, PatternNet, Patterns, fit_patterns
from esegeta.model import file_sha256
from esegeta.volume import Volume, read_case
from esegeta.workflow.build import Experiment

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
        images = [path for case in experiment.cases for path in case.images]
        parts = {
            "weights": experiment.weights_sha256,
            "code": experiment.code_sha256,
            "model": keys.model.model_dump(mode="json"),
            "preprocess": keys.data.preprocess.model_dump(mode="json"),
            "nan": keys.data.nan,
            "channels": keys.data.channels,
            "inference": keys.inference.model_dump(mode="json"),
            "images": [file_sha256(path) if path.is_file() else None for path in images],
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        _KEYS[experiment] = hashlib.sha256(text.encode()).hexdigest()
    return _KEYS[experiment]


def _volumes(experiment: Experiment) -> Iterator[Volume]:
    """Read the cases one at a time."""
    for case in experiment.cases:
        volume, _ = read_case(case, experiment.preprocess, experiment.reading)
        yield volume.to(experiment.device)
