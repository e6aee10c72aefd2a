"""What decides a result: two tasks with one fingerprint would leave the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esegeta.explain import Explainer, baselines_of, default_by, parameters_of
from esegeta.own_classes import code_sha256
from esegeta.volume import Case, members
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.plans import TargetPlan, atlas_file, baseline_files, image_sha256, nested
from esegeta.workflow.prepared import patterns_fingerprint


def task_parts(
    experiment: Experiment,
    case: Case,
    plan: TargetPlan,
    target_name: str,
    method: Explainer,
    inputs: dict[str, str],
) -> dict[str, Any]:
    """Return all that decides a map and its scores, as plain values."""
    return {
        **map_parts(experiment, case, plan, method, inputs),
        **judged_parts(experiment, case, method),
        "target_name": target_name,
    }


def judged_parts(experiment: Experiment, case: Case, method: Explainer) -> dict[str, Any]:
    """Return all that decides how a map is judged, summed up and written, as plain values."""
    judges = [part for score in experiment.scores.values() for part in nested(score)]
    return {
        **_file_parts(experiment, case, [*nested(method), *judges]),
        **_written_parts(experiment),
        **({} if experiment.config.keys.dtype == "float32" else {"dtype": "int16"}),
        "maps": experiment.config.keys.maps.by or default_by(method.meaning),
        "scores": {key: parameters_of(score) for key, score in experiment.scores.items()},
        **_code_parts("score_code", judges),
        "aggregate": (
            None
            if experiment.atlases is None
            else [atlas.fingerprint(case) for atlas in experiment.atlases]
        ),
    }


def map_parts(
    experiment: Experiment,
    case: Case,
    plan: TargetPlan,
    method: Explainer,
    inputs: dict[str, str],
) -> dict[str, Any]:
    """Return all that decides the map of a method for a target of a case, as plain values."""
    parts = list(nested(method))
    return {
        "prediction": prediction_parts(experiment, inputs),
        "target": plan.fingerprint(case),
        "method": method.name,
        "parameters": parameters_of(method),
        **_code_parts("method_code", parts),
        **_file_parts(experiment, case, parts),
        "patterns": [patterns_fingerprint(part, experiment) for part in parts],
    }


def _file_parts(experiment: Experiment, case: Case, parts: Sequence[Any]) -> dict[str, Any]:
    files = [
        baseline_files(baseline, case, experiment.config)
        for part in parts
        for *_, baseline in baselines_of(part)
    ]
    atlases = [atlas_file(part, case, experiment.config) for part in parts]
    return {
        "baseline_sha256": [[_sha256_of(path) for path in paths] for paths in files],
        "atlas_sha256": [None if path is None else _sha256_of(path) for path in atlases],
    }


def _code_parts(key: str, parts: Sequence[Any]) -> dict[str, Any]:
    """Return the SHA-256 of the code of classes that are not ours, where there are any."""
    found = [sha256 for part in parts if (sha256 := code_sha256(part)) is not None]
    return {key: found} if found else {}


def prediction_parts(basis: Basis, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return all that decides the prediction of a case, as plain values."""
    from esegeta import __version__

    keys = basis.config.keys
    model = keys.model.model_dump(mode="json")
    return {
        "esegeta": __version__,
        "model": {
            **model,
            "weights": basis.weights_sha256,
            "code": basis.code_sha256,
        },
        "decisions": keys.decision_parts(),
        "preprocess": keys.data.preprocess.model_dump(mode="json"),
        **keys.data.reading_parts(),
        "told": [case.told for case in basis.cases if case.told and _reads(case, inputs)],
        "inference": keys.inference.model_dump(mode="json"),
        "inputs": list(inputs.values()),
    }


def _reads(case: Case, inputs: Mapping[str, str]) -> bool:
    return all(str(file) in inputs for path in case.images for file in members(path))


def segmentation_parts(
    basis: Basis, inputs: Mapping[str, str], expected: Mapping[str, str]
) -> dict[str, Any]:
    """Return all that decides the segmentation that is written of a case, and its comparison.

    Args:
        basis: basis that it belongs to.
        inputs: SHA-256 of the files of the case, by path.
        expected: SHA-256 of the expected segmentation, by path; empty where there is none.
    """
    keys = basis.config.keys
    parts: dict[str, Any] = {
        "prediction": prediction_parts(basis, inputs),
        "resample": keys.prediction.resample,
        **({"write": ["dicom"]} if keys.writes_dicom else {}),
    }
    if keys.colors:
        parts["colors"] = keys.colors
    if expected:
        parts |= {"expected": list(expected.values()), "expected_dice": keys.least_dice}
    return parts


def _written_parts(basis: Basis) -> dict[str, Any]:
    """Return what is written beside NIfTI, which decides which files a result consists of."""
    beside = sorted(set(basis.config.keys.write) - {"nifti"})
    return {"write": beside} if beside else {}


def provenance(experiment: Experiment, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return where a result comes from, for its sidecar."""
    from esegeta import __version__

    return {
        "inputs_sha256": dict(inputs),
        "weights_sha256": experiment.weights_sha256,
        "esegeta": __version__,
    }


def _sha256_of(path: Path) -> str | list[str] | None:
    return image_sha256(path) if path.exists() else None
