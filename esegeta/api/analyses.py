"""Commands that look into networks, as functions under the same words; each takes a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esegeta.api.commands import KEPT, ConfigGiven, path_of, read, results_of
from esegeta.api.results import Results
from esegeta.workflow import Listener, Policy


def dissect(
    config: ConfigGiven,
    *,
    layers: Sequence[str] = (),
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Find which units detect which concepts as `esegeta dissect` does.

    Args:
        config: see `run`.
        layers: names, instead of the config's; or `["all"]`.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow.dissect import build_dissection, run_dissection

    dissection = build_dissection(
        read(config, overrides), layers=list(layers), output=path_of(output), device=device
    )
    done = run_dissection(dissection, listener, policy)
    return results_of(dissection.folder, done.outcome)


def concepts(
    config: ConfigGiven,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Test which human concepts a prediction depends on as `esegeta concepts` does.

    Args:
        config: see `run`.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow.concepts import build_concepts, run_concepts

    built = build_concepts(read(config, overrides), output=path_of(output), device=device)
    return results_of(built.folder, run_concepts(built, listener, policy).outcome)


def similarity(
    config: ConfigGiven,
    *,
    others: Sequence[str | Path] = (),
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Measure how alike layers, networks and cases are, as `esegeta similarity` does.

    Args:
        config: see `run`.
        others: YAML files of further networks, such as other seeds or checkpoints in their order.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow.similarity import build_comparison, run_comparison

    comparison = build_comparison(
        read(config, overrides),
        [Path(one) for one in others],
        output=path_of(output),
        device=device,
    )
    return results_of(comparison.folder, run_comparison(comparison, listener, policy).outcome)


def features(
    config: ConfigGiven,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Make pictures of what units, layers and labels want to see as `esegeta features` does.

    Args:
        config: see `run`.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow.features import build_features, run_features

    job = build_features(read(config, overrides), output=path_of(output), device=device)
    return results_of(job.folder, run_features(job, listener, policy))


def inspect(
    config: ConfigGiven,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Write out activations, their statistics and filters as `esegeta inspect` does.

    Args:
        config: see `run`.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow.inspect import build_inspection, run_inspection

    job = build_inspection(read(config, overrides), output=path_of(output), device=device)
    return results_of(job.folder, run_inspection(job, listener, policy))


def examples(
    config: ConfigGiven,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Find which cases speak for a network as `esegeta examples` does.

    Args:
        config: see `run`.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow.examples import build_examples, run_examples

    study = build_examples(read(config, overrides), output=path_of(output), device=device)
    return results_of(study.root, run_examples(study, listener, policy))


def retrain(
    config: ConfigGiven,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    policy: Policy = KEPT,
    listener: Listener | None = None,
) -> Results:
    """Retrain without (ROAR) or with only (KAR) what methods rank highest: `esegeta retrain`.

    Args:
        config: see `run`.
        output: see `run`.
        device: see `run`.
        overrides: see `run`.
        policy: see `run`.
        listener: see `run`.

    Raises:
        EsegetaError: see `run`.
    """
    from esegeta.workflow import build_experiment
    from esegeta.workflow.retrain import build_retraining, run_retraining

    experiment = build_experiment(read(config, overrides), output=path_of(output), device=device)
    retraining = build_retraining(experiment)
    return results_of(retraining.root, run_retraining(retraining, listener, policy))
