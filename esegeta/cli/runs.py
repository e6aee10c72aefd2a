"""Commands over cases: `run`, `demo`, `predict`, `retrain`."""

from __future__ import annotations

from typing import Annotated

import typer

from esegeta.cli.finished import write_page
from esegeta.cli.handed_on import subject_of
from esegeta.cli.many import Ways, end_if_shared, in_several, origin_of
from esegeta.cli.options import (
    EXIT_PARTIAL,
    EXIT_USER,
    ClusterFile,
    ConfigPath,
    Device,
    FailFast,
    Output,
    Overrides,
    Overwrite,
    PartOf,
    Prune,
    Quiet,
    Verify,
    Workers,
    policy_of,
)
from esegeta.errors import EsegetaError


def run(
    config: ConfigPath,
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
    verify: Verify = False,
    prune: Prune = False,
    quiet: Quiet = False,
    part: PartOf = None,
    workers: Workers = None,
    cluster: ClusterFile = None,
) -> None:
    """Run an experiment; finished tasks are skipped.

    Exit code 0: success. 1: a task failed or has a warning. 2: nothing succeeded, for a reason
    that you can fix.
    """
    from esegeta.cli.progress import listen, show_outcome, show_stale
    from esegeta.config import load_config
    from esegeta.workflow import build_experiment, run_experiment

    loaded = load_config(config, overrides or [])
    origin = origin_of("run", config, overrides, output, device)
    policy = policy_of(overwrite, fail_fast, verify)
    shared = in_several(origin, Ways(part, workers, cluster), policy, quiet=quiet)
    if shared is not None:
        if loaded.keys.report and part is None and shared < EXIT_USER:
            write_page([origin.root(loaded)], None, single_file=False, quiet=quiet)
        if part is None:
            show_stale(origin.root(loaded), prune=prune, quiet=quiet)
        raise typer.Exit(shared)
    experiment = build_experiment(loaded, output=output, device=device)
    with listen(quiet=quiet) as listener:
        outcome = run_experiment(experiment, listener, policy)
    show_outcome(outcome, experiment.root, quiet=quiet)
    show_stale(experiment.root, prune=prune, quiet=quiet)
    exit_code = outcome.exit_code
    if loaded.keys.report and len(outcome.failures) < len(outcome.results):
        try:
            write_page([experiment.root], None, single_file=False, quiet=quiet)
        except EsegetaError as error:  # the maps are there all the same
            typer.echo(f"error: no report: {error}", err=True)
            exit_code = exit_code or EXIT_PARTIAL
    raise typer.Exit(exit_code)


def demo(
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Explain the sample that comes with the package, and write a report: a minute or two.

    The config is printed first: copy it to start your own. Exit codes are those of `run`.
    """
    from esegeta.samples import demo_config

    config = demo_config()
    if not quiet:
        typer.echo(f"esegeta run {config}")
    run(config, output, overrides, device, fail_fast=False, overwrite=False, quiet=quiet)


def predict(
    config: ConfigPath,
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="Write the probability of each label too."),
    ] = False,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
    verify: Verify = False,
    quiet: Quiet = False,
    part: PartOf = None,
    workers: Workers = None,
    cluster: ClusterFile = None,
) -> None:
    """Predict every case, and check that the result is your own pipeline's prediction.

    Name the segmentation that your own pipeline made of a case as `expected`: the Dice of each
    label shows whether the two agree. The config needs no `targets` or `methods`. A run of the
    same config reuses these predictions. Exit code 0: success. 1: a case failed, or a Dice is
    below `expected_dice`. 2: nothing succeeded, for a reason that you can fix.
    """
    from esegeta.cli.progress import listen, show_outcome
    from esegeta.cli.show import show_predicted
    from esegeta.config import load_config
    from esegeta.workflow import build_predictions, run_predictions

    loaded = load_config(config, overrides or [])
    config, names = subject_of({"config": config, "probabilities": probabilities})
    origin = origin_of("predict", config, overrides, output, device, names)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    experiment = build_predictions(loaded, output=output, device=device)
    written = experiment.predictor.labels.foreground if probabilities else ()
    with listen(quiet=quiet) as listener:
        outcome = run_predictions(experiment, listener, policy, probabilities=written)
    if not quiet:
        show_predicted(outcome, experiment)
    show_outcome(outcome, experiment.root, quiet=quiet)
    raise typer.Exit(outcome.exit_code)


def retrain(
    config: ConfigPath,
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
    verify: Verify = False,
    quiet: Quiet = False,
    part: PartOf = None,
    workers: Workers = None,
    cluster: ClusterFile = None,
) -> None:
    """Retrain without (ROAR) or with only (KAR) the voxels that methods rank highest.

    The `retrain` block of the config says how; finished networks are not trained again. Exit
    codes are those of `run`.
    """
    from esegeta.cli.progress import listen, show_outcome
    from esegeta.config import load_config
    from esegeta.workflow import build_experiment
    from esegeta.workflow.retrain import build_retraining, run_retraining

    loaded = load_config(config, overrides or [])
    origin = origin_of("retrain", config, overrides, output, device)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    retraining = build_retraining(build_experiment(loaded, output=output, device=device))
    with listen(quiet=quiet) as listener:
        outcome = run_retraining(retraining, listener, policy)
    show_outcome(outcome, retraining.root, quiet=quiet)
    raise typer.Exit(outcome.exit_code)
