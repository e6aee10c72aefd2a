"""Commands over cases: `run`, `demo`, `predict`, `retrain`."""

from __future__ import annotations

from typing import Annotated

import typer

from esegeta.cli.handed_on import subject_of
from esegeta.cli.many import Ways, end_if_shared, origin_of
from esegeta.cli.options import (
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
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
    from esegeta.config import load_config
    from esegeta.workflow import build_experiment, run_experiment

    loaded = load_config(config, overrides or [])
    origin = origin_of("run", config, overrides, output, device)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet, prune)
    experiment = build_experiment(loaded, output=output, device=device)
    with listen(quiet=quiet) as listener:
        outcome = run_experiment(experiment, listener, policy)
    ending = Ending("run", loaded, experiment.root, outcome, outcome.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet, prune=prune))


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
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
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
    ending = Ending("predict", loaded, experiment.root, outcome, outcome.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))


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
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
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
    ending = Ending("retrain", loaded, retraining.root, outcome, outcome.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))
