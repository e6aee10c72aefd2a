"""Files that methods name: images of baselines and label maps of features, found for each case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from esegeta.config import RunConfig
from esegeta.explain import Baseline, Explainer, Features
from esegeta.volume import Case


def nested_explainers(explainer: Explainer) -> Iterator[Explainer]:
    """Yield an explainer and those that it is built on."""
    yield explainer
    for item in fields(explainer):
        value: Any = getattr(explainer, item.name)
        if isinstance(value, Explainer):
            yield from nested_explainers(value)


def baseline_files(baseline: Baseline, case: Case, config: RunConfig) -> tuple[Path, ...]:
    """Return the files of a baseline for a case: none, one, or one a channel."""
    if baseline.file is None:
        return ()
    names = (baseline.file,) if isinstance(baseline.file, str) else baseline.file
    return tuple(config.find_file(name.replace("{case}", case.name)) for name in names)


def atlas_file(explainer: Explainer, case: Case, config: RunConfig) -> Path | None:
    """Return the label map of an explainer's features for a case, or None where it has none."""
    features = getattr(explainer, "features", None)
    if not isinstance(features, Features) or features.file is None:
        return None
    return config.find_file(features.file.replace("{case}", case.name))
