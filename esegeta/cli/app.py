"""Commands, their arguments and exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from esegeta.cli.analyses import concepts, dissect, examples, features, inspect, similarity
from esegeta.cli.from_model import explain, init, view
from esegeta.cli.handed_on import WRAPPER, subject_of
from esegeta.cli.many import (
    Ways,
    end_if_shared,
    gather,
    in_several,
    origin_of,
    plan,
    status,
    submit,
)
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
from esegeta.errors import DiskFullError, EsegetaError, told_by_system
from esegeta.stop import Stopped, stopped_by_signals

EXIT_USER = 2
EXIT_NO_REPORT = EXIT_PARTIAL = 1


class _Group(TyperGroup):
    """Errors that the user can fix are printed without a traceback and exit with 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EsegetaError as error:
            told: EsegetaError | None = error
        except OSError as error:
            told = told_by_system(error)
            if told is None:
                raise
        assert told is not None
        _say(told)
        is_partial = isinstance(told, DiskFullError) and told.num_finished > 0
        return ctx.exit(EXIT_PARTIAL if is_partial else EXIT_USER)


def _say(error: EsegetaError) -> None:
    """Print an error; characters that no terminal shows, such as halves of one, by their number."""
    for line in str(error).splitlines():
        shown = line.encode("utf-8", "backslashreplace").decode()
        typer.echo(f"error: {shown}", err=True)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Explain medical segmentation models: the whole sliding-window prediction, exactly.",
)

app.command()(explain)


@app.command()
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

    Exit code 0: all is well. 1: a task failed or carries a warning. 2: nothing succeeded, for a
    reason that you can fix.
    """
    from esegeta.cli.progress import listen, show_outcome, show_stale
    from esegeta.config import load_config
    from esegeta.workflow import build_experiment, run_experiment

    loaded = load_config(config, overrides or [])
    origin = origin_of("run", config, overrides, output, device)
    shared = in_several(
        origin, Ways(part, workers, cluster), policy_of(overwrite, fail_fast, verify), quiet=quiet
    )
    if shared is not None:
        if loaded.keys.report and part is None and shared < EXIT_USER:
            _report([origin.root(loaded)], None, single_file=False, quiet=quiet)
        if part is None:
            show_stale(origin.root(loaded), prune=prune, quiet=quiet)
        raise typer.Exit(shared)
    experiment = build_experiment(loaded, output=output, device=device)
    with listen(quiet=quiet) as listener:
        outcome = run_experiment(experiment, listener, policy_of(overwrite, fail_fast, verify))
    show_outcome(outcome, experiment.root, quiet=quiet)
    show_stale(experiment.root, prune=prune, quiet=quiet)
    exit_code = outcome.exit_code
    if loaded.keys.report and len(outcome.failures) < len(outcome.results):
        try:
            _report([experiment.root], None, single_file=False, quiet=quiet)
        except EsegetaError as error:  # the maps are there all the same
            typer.echo(f"error: no report: {error}", err=True)
            exit_code = exit_code or EXIT_NO_REPORT
    raise typer.Exit(exit_code)


@app.command()
def demo(
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Explain the sample that comes with the package, in a minute or two; ends with a report.

    The config is printed first: copy it to start your own. Exit codes are those of `run`.
    """
    from esegeta.samples import demo_config

    config = demo_config()
    if not quiet:
        typer.echo(f"esegeta run {config}")
    run(config, output, overrides, device, fail_fast=False, overwrite=False, quiet=quiet)


@app.command()
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
    """Predict every case, and prove that it is your own pipeline's prediction.

    Give a case your own segmentation of it by the same model, as `expected`: the Dice of each
    label says whether both are the same. `targets` and `methods` may be missing. A run of the
    same config goes on from these predictions. Exit code 0: all is well. 1: a case failed, or a
    Dice is below `expected_dice`. 2: nothing succeeded, for a reason that you can fix.
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


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders that `esegeta run` wrote.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the comparison.")] = (
        Path("results/compare")
    ),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print warnings only.")] = False,
) -> None:
    """Compare runs: methods x models x cases in one leaderboard, with statistics.

    Exit code 0: the comparison was written. 2: the runs cannot be read or compared.
    """
    from esegeta.cli.show import show_study
    from esegeta.compare import compare_runs, save_study

    study = compare_runs(runs)
    save_study(study, output)
    show_study(study, output, quiet=quiet)


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Folders that `esegeta run` wrote, or that hold such folders.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder for the report; by default `report` inside the run's, or beside several.",
        ),
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put everything into one file, to send to others.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing.")] = False,
) -> None:
    """Put maps, scores, curves and the record of finished runs on one offline page.

    The page needs no server and no network: open index.html. Exit code 0: the report was written.
    2: the folders cannot be read, or the report cannot be written.
    """
    page = _report(results, output, single_file=single_file, quiet=quiet)
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _report(results: list[Path], output: Path | None, *, single_file: bool, quiet: bool) -> Path:
    from esegeta.compare.pages import report_place, write_report

    page = write_report(results, output or report_place(results), single_file=single_file)
    if not quiet:
        typer.echo(f"report: {page}")
    return page


app.command()(view)
for command in (dissect, concepts, similarity, features, inspect, examples):
    app.command()(command)


@app.command()
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


@app.command()
def validate(config: ConfigPath, overrides: Overrides = None, device: Device = None) -> None:
    """Check an experiment, its files, headers, weights and layers, without running it."""
    from esegeta.cli.show import show_checked
    from esegeta.config import load_config

    show_checked(load_config(config, overrides or []), device=device)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One method.")] = None,
) -> None:
    """List the attribution methods, or describe one."""
    from esegeta.cli.catalogue import show_method, show_methods

    show_methods() if name is None else show_method(name)


@app.command()
def scores(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One score.")] = None,
) -> None:
    """List the scores with their ranges and better directions, or describe one."""
    from esegeta.cli.catalogue import show_score, show_scores

    show_scores() if name is None else show_score(name)


@app.command()
def layers(config: ConfigPath, overrides: Overrides = None) -> None:
    """Print the network of an experiment as a tree with output shapes for one window."""
    from esegeta.cli.show import show_layers
    from esegeta.config import load_config

    show_layers(load_config(config, overrides or []))


app.command()(init)
app.command(context_settings=WRAPPER)(plan)
app.command(context_settings=WRAPPER)(submit)
app.command()(gather)
app.command()(status)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Explain medical segmentation models: the whole sliding-window prediction, exactly."""
    if version:
        from esegeta import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM end it cleanly with exit code 130 or 143."""
    try:
        with stopped_by_signals():
            app()
    except Stopped as stopped:
        print(f"{stopped}; run the same command again to go on from here", file=sys.stderr)
        sys.exit(stopped.exit_code)
