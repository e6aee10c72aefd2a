"""Commands that look into networks: dissect, concepts, similarity, features, inspect, examples."""

from __future__ import annotations

from pathlib import Path
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
    Quiet,
    Verify,
    Workers,
    policy_of,
)


def dissect(
    config: ConfigPath,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="NAME",
            help="Layers to dissect instead of the config's: a name, several as NAME,NAME or "
            "--layers NAME --layers NAME, or `all` by itself. `esegeta layers CONFIG` prints the "
            "names.",
        ),
    ] = None,
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    fail_fast: FailFast = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Redo everything. Without it, a finished dissection with the same settings is "
            "kept, a stopped one is continued, and one with other settings is replaced "
            "once the new one is ready.",
        ),
    ] = False,
    verify: Verify = False,
    quiet: Quiet = False,
    part: PartOf = None,
    workers: Workers = None,
    cluster: ClusterFile = None,
) -> None:
    """Find which units of a network detect which concepts; continues where it was stopped.

    Exit code 0: success. 1: an error that you cannot fix. 2: an error in a config or a file that
    you can fix.
    """
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
    from esegeta.config import load_config
    from esegeta.workflow.dissect import build_dissection, run_dissection

    loaded = load_config(config, overrides or [])
    config, names = subject_of({"config": config, "layers": layers})
    origin = origin_of("dissect", config, overrides, output, device, names)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    dissection = build_dissection(loaded, layers=names, output=output, device=device)
    with listen(quiet=quiet) as listener:
        dissected = run_dissection(dissection, listener, policy)
    ending = Ending("dissect", loaded, dissection.folder, dissected.outcome, dissected.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))


def concepts(
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
    """Test which human concepts a prediction depends on (TCAV), and whether they suffice.

    The `concepts` block of the config says which; continues where it was stopped. Exit code 0:
    success. 1: an error that you cannot fix. 2: an error in a config or a file that you can fix.
    """
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
    from esegeta.config import load_config
    from esegeta.workflow.concepts import build_concepts, run_concepts

    origin = origin_of("concepts", config, overrides, output, device)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    loaded = load_config(config, overrides or [])
    built = build_concepts(loaded, output=output, device=device)
    with listen(quiet=quiet) as listener:
        tested = run_concepts(built, listener, policy)
    ending = Ending("concepts", loaded, built.folder, tested.outcome, tested.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))


def similarity(
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG [CONFIG]...",
            help="The config whose `similarity` block is computed, on its cases; then configs of "
            "networks to compare with it, such as other seeds, or checkpoints in their order.",
        ),
    ],
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
    """Measure the similarity of layers, networks and cases: CKA, canonical correlations, PCA.

    `--set` changes the first config. Exit code 0: success. 1: an error that you cannot fix. 2: an
    error in a config or a file that you can fix.
    """
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
    from esegeta.config import load_config
    from esegeta.workflow.similarity import build_comparison, run_comparison

    loaded = load_config(configs[0], overrides or [])
    first, more = subject_of({"configs": configs})
    origin = origin_of("similarity", first, overrides, output, device, more)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    comparison = build_comparison(loaded, configs[1:], output=output, device=device)
    with listen(quiet=quiet) as listener:
        compared = run_comparison(comparison, listener, policy)
    ending = Ending("similarity", loaded, comparison.folder, compared.outcome, compared.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))


def features(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[fit] CONFIG",
            help="A YAML experiment; after `fit`, only the expert and the generator are fitted.",
        ),
    ],
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
    """Make pictures of what units, layers and labels respond to, next to real patches.

    The `features` block of the config says which; finished pictures are not made again. `esegeta
    features fit CONFIG` learns what real images look like and makes no picture. Exit codes are
    those of `run`.
    """
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
    from esegeta.config import load_config
    from esegeta.workflow.features import build_features, run_features

    config, fit = subject_of({"words": words})
    origin = origin_of("features", config, overrides, output, device, fit)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    loaded = load_config(config, overrides or [])
    job = build_features(loaded, output=output, device=device)
    with listen(quiet=quiet) as listener:
        outcome = run_features(job, listener, policy, fit_only=bool(fit))
    ending = Ending("features", loaded, job.folder, outcome, outcome.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))


def inspect(
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
    """Look inside a network: activations of layers, their statistics, and filters.

    The `inspect` block of the config says which. Exit codes are those of `run`.
    """
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
    from esegeta.config import load_config
    from esegeta.workflow.inspect import build_inspection, run_inspection

    origin = origin_of("inspect", config, overrides, output, device)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    loaded = load_config(config, overrides or [])
    job = build_inspection(loaded, output=output, device=device)
    with listen(quiet=quiet) as listener:
        outcome = run_inspection(job, listener, policy)
    ending = Ending("inspect", loaded, job.folder, outcome, outcome.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))


def examples(
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
    """Find typical and untypical cases, influential training cases, and simple surrogate models.

    The `examples` block of the config says what to compute; finished parts are not redone. Exit
    codes are those of `run`.
    """
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import listen
    from esegeta.config import load_config
    from esegeta.workflow.examples import build_examples, run_examples

    origin = origin_of("examples", config, overrides, output, device)
    policy = policy_of(overwrite, fail_fast, verify)
    end_if_shared(origin, Ways(part, workers, cluster), policy, quiet)
    loaded = load_config(config, overrides or [])
    study = build_examples(loaded, output=output, device=device)
    with listen(quiet=quiet) as listener:
        outcome = run_examples(study, listener, policy)
    ending = Ending("examples", loaded, study.root, outcome, outcome.exit_code)
    raise typer.Exit(show_end(ending, quiet=quiet))
