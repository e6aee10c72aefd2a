"""Files that methods and scores name, found for each case: images of baselines, label maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from esegeta.config import RunConfig
from esegeta.explain import Baseline, Explainer, Features
from esegeta.model import file_sha256
from esegeta.score import Score
from esegeta.volume import Case, members


def nested(work: Explainer | Score) -> Iterator[Any]:
    """Yield a method or score and those that it is built on."""
    yield work
    for item in fields(work):
        value: Any = getattr(work, item.name)
        if isinstance(value, (Explainer, Score)):
            yield from nested(value)


def baseline_files(baseline: Baseline, case: Case, config: RunConfig) -> tuple[Path, ...]:
    """Return the files of a baseline for a case: none, one, or one a channel."""
    if baseline.file is None:
        return ()
    names = (baseline.file,) if isinstance(baseline.file, str) else baseline.file
    return tuple(config.find_file(name.replace("{case}", case.name)) for name in names)


def atlas_file(work: Explainer | Score, case: Case, config: RunConfig) -> Path | None:
    """Return the label map of the features of a method or score, or None where it has none."""
    features = getattr(work, "features", None)
    if not isinstance(features, Features) or features.file is None:
        return None
    return config.find_file(features.file.replace("{case}", case.name))


def image_sha256(path: Path) -> str | list[str]:
    """Return the SHA-256 of an image's file, or of both where it is a .hdr/.img pair."""
    found = [file_sha256(file) for file in members(path)]
    return found[0] if len(found) == 1 else found
