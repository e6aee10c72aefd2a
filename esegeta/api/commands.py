"""The commands as functions of the same names: a config goes in, what was written comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esegeta.api.results import Results
from esegeta.config import RunConfig, config_of, load_config
from esegeta.config.asked import Asked
from esegeta.workflow import Listener, Outcome, Policy

ConfigGiven = str | Path | Mapping[str, Any]
"""A YAML file, or its keys; paths of keys without a file are relative to the working directory."""

KEPT = Policy()


def run(
    config: ConfigGiven,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Run an experiment as `esegeta run` does; finished tasks are skipped.

    Args:
        config: a YAML file, or its keys.
        output: the folder of results, instead of the config's.
        device: auto, cpu, cuda or cuda:1, instead of the config's.
        overrides: `key=value`, as --set takes them.
        policy: how to treat existing results and failures, such as `Policy(overwrite=True)`.
        listener: receives the progress; none by default.

    Returns:
        The folder of results, with its tables and maps, and what failed.

    Raises:
        EsegetaError: the first thing found wrong with config, files, weights or device.
    """
    from esegeta.workflow import build_experiment, run_experiment

    loaded = read(config, overrides)
    experiment = build_experiment(loaded, output=path_of(output), device=device)
    results = results_of(experiment.root, run_experiment(experiment, listener, policy))
    if loaded.keys.report and results.maps:
        report([experiment.root])
    return results


def predict(
    config: ConfigGiven,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    probabilities: bool = False,
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Predict every case as `esegeta predict` does, and compare it with what is expected.

    Args:
        config: see `run`.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        probabilities: whether to write the probability of each label too.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow import build_predictions, run_predictions

    experiment = build_predictions(read(config, overrides), output=path_of(output), device=device)
    written = experiment.predictor.labels.foreground if probabilities else ()
    outcome = run_predictions(experiment, listener, policy, probabilities=written)
    return results_of(experiment.root, outcome)


def explain(
    model: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    label: str | int | None = None,
    methods: Sequence[str] = (),
    over: str = "predicted",
    output: str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
) -> Results:
    """Explain a model's prediction of an image as `esegeta explain` does; no config is needed.

    Args:
        model: a results folder of nnU-Net, a MONAI bundle, a TorchScript or .pt2 file, weights with
            a config.yaml beside them, or a config.
        images: one file per channel, a DICOM folder, or a folder of cases.
        label: name or integer; by default the largest one that is predicted.
        methods: names of methods; by default the cheapest one that works.
        over: a region, such as `component` or `voxel:10,20,30`.
        output: the folder of results; it gets a config.yaml to edit and run.
        device: auto, cpu, cuda or cuda:1.
        overrides: `key=value`, as --set takes them.
        policy: see `run`.

    Raises:
        EsegetaError: the first thing found wrong with any argument.
    """
    from esegeta.workflow.one_line import explain_model

    named = [images] if isinstance(images, (str, Path)) else images
    asked = Asked(
        Path(model), [str(image) for image in named], label, methods, over, device, overrides
    )
    done = explain_model(asked, path_of(output), policy)
    return results_of(done.experiment.root, done.outcome)


def compare(
    runs: str | Path | Sequence[str | Path], *, output: str | Path = "results/compare"
) -> Results:
    """Compare runs as `esegeta compare` does: methods x models x cases, with statistics.

    Args:
        runs: folders that `run` wrote.
        output: the folder of the comparison.

    Raises:
        EsegetaError: the runs cannot be read or compared, or the folder cannot be written.
    """
    from esegeta.compare import compare_runs, save_study

    study = compare_runs(_paths(runs))
    save_study(study, Path(output))
    return Results(Path(output))


def report(
    runs: str | Path | Sequence[str | Path],
    *,
    output: str | Path | None = None,
    single_file: bool = False,
) -> Path:
    """Put finished runs on one offline page as `esegeta report` does, and return the page.

    Args:
        runs: folders that `run` wrote, or that hold such folders.
        output: the report's folder; by default `report` inside the run's, or beside several.
        single_file: whether to put everything into one file, to send to others.

    Raises:
        EsegetaError: the folders cannot be read, or the report cannot be written.
    """
    from esegeta.compare.pages import report_place, write_report

    places = _paths(runs)
    return write_report(places, path_of(output) or report_place(places), single_file=single_file)


def read(config: ConfigGiven, overrides: Sequence[str] = ()) -> RunConfig:
    """Return a config, read and checked.

    Raises:
        ConfigError: the config is wrong; gives place, what was found and the nearest valid name.
    """
    if isinstance(config, Mapping):
        return config_of(config, overrides)
    return load_config(Path(config), overrides)


def results_of(folder: Path, outcome: Outcome) -> Results:
    """Return what a command wrote, and what failed or carries a warning."""
    failures = tuple(f"{ended.name}: {ended.message}" for ended in outcome.failures)
    warnings = tuple(f"{ended.name}: {text}" for ended in outcome.warned for text in ended.warnings)
    return Results(folder, failures, warnings)


def path_of(path: str | Path | None) -> Path | None:
    """Return a path that was given, or None."""
    return None if path is None else Path(path)


def _paths(runs: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(run) for run in ([runs] if isinstance(runs, (str, Path)) else runs)]
