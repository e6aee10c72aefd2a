"""Commands of several processes: parts, what they come to, how they stand, what they will take."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esegeta.cli.options import (
    ClusterFile,
    Device,
    OfCommand,
    Output,
    Overrides,
    Quiet,
)
from esegeta.machine import MOST_COUNTED

if TYPE_CHECKING:
    from esegeta.config.cluster import ClusterKeys
    from esegeta.workflow import Policy
    from esegeta.workflow.command import Command
    from esegeta.workflow.spread.gather import Gathered
    from esegeta.workflow.spread.origin import Origin
    from esegeta.workflow.spread.status import Standing

HandedOnWords = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG [OPTIONS OF THE COMMAND]...",
        help="A YAML experiment, followed by options of the command, such as --fail-fast, or "
        "--layers NAME of `dissect`.",
    ),
]
ResultsArgument = Annotated[
    Path, typer.Argument(metavar="RESULTS", help="The folder <output>/<name>.")
]
FEW_PER_HOUR = 10
"""A rate below this is shown with its fraction."""


@dataclass(frozen=True)
class Ways:
    """How the command line asks for several processes.

    Args:
        part: such as 3/16.
        workers: auto, or how many processes of this machine.
        cluster: a file with the keys of `cluster`, or a word.
    """

    part: str | None = None
    workers: str | None = None
    cluster: str | None = None

    def require_part_alone(self) -> None:
        """Refuse workers for a part.

        Raises:
            ConfigError: the command line asks for both.
        """
        from esegeta.errors import ConfigError

        other = "--workers" if self.workers is not None else "--cluster"
        if self.workers is not None or self.cluster is not None:
            raise ConfigError(
                f"--part and {other}: give one of them",
                hint="one process runs a part, while workers share the whole command",
            )


def _do_part(origin: Origin, part: str, policy: Policy, *, quiet: bool) -> int:
    from esegeta.cli.progress import listen, show_outcome
    from esegeta.workflow.spread.parts import Part
    from esegeta.workflow.spread.run_part import run_part

    with listen(quiet=quiet) as listener:
        outcome, command = run_part(origin, Part.parse(part), listener, policy)
    show_outcome(outcome, command.root, quiet=quiet)
    if not quiet:
        print(f"this was part {part}; when all have ended, run: esegeta gather {command.root}")
    return outcome.exit_code


def _do_on_cluster(
    origin: Origin, keys: ClusterKeys, policy: Policy, *, quiet: bool, prune: bool
) -> int:
    from esegeta.cli.progress import listen
    from esegeta.workflow.spread.asked import require_dask

    require_dask()
    from esegeta.workflow.spread.controller import run_on_cluster

    with listen(quiet=quiet) as listener:
        gathered, command = run_on_cluster(origin, keys, listener, policy)
    # What is still to come after a failure is what the failure has stopped.
    is_over = not gathered.waiting or bool(gathered.outcome.failures)
    return _show_gathered(
        origin, gathered, command=command, is_over=is_over, quiet=quiet, prune=prune
    )


def _show_gathered(
    origin: Origin,
    gathered: Gathered,
    *,
    command: Command,
    is_over: bool,
    quiet: bool,
    prune: bool = False,
) -> int:
    """Print what several processes have done, as one process does where all is over."""
    from esegeta.cli.ends import Ending, show_end
    from esegeta.cli.progress import show_outcome

    if not is_over:
        show_outcome(gathered.outcome, command.folder, quiet=quiet)
        return gathered.exit_code
    config, outcome = origin.load(), gathered.outcome
    ending = Ending(origin.command, config, command.folder, outcome, gathered.exit_code)
    return show_end(ending, quiet=quiet, prune=prune)


def origin_of(
    command: str,
    config: Path,
    overrides: Collection[str] | None,
    output: Path | None,
    device: str | None,
    names: Collection[str] = (),
) -> Origin:
    """Return what a command line is about."""
    from esegeta.workflow.spread.origin import Origin

    return Origin.of(command, config, overrides or (), output=output, device=device, names=names)


def submit(
    words: HandedOnWords,
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    cluster: ClusterFile = None,
    command: OfCommand = "run",
) -> None:
    """Run an experiment on a cluster, with the controller as a job of its own; returns at once.

    `--command dissect`, for example, submits another command than `run`; options of that command
    are passed on to it. `esegeta status RESULTS` shows its progress. Exit code 0: the job was
    submitted. 2: it was not, for a reason that you can fix.
    """
    from esegeta.cli.handed_on import handed_on
    from esegeta.errors import ConfigError
    from esegeta.workflow.spread.asked import asked_cluster, require_dask

    known_command(command)
    require_dask()
    from esegeta.workflow.spread.submit import submit as submit_controller

    asked = handed_on(command, words, output=output, overrides=overrides, device=device)
    origin = asked.origin
    loaded = origin.load()
    keys = asked_cluster(loaded, None, cluster)
    if keys is None:
        raise ConfigError(
            f"{origin.config}: the config has no `cluster` block",
            hint="add one, or name a file with its keys: --cluster FILE",
        )
    _require_sound(origin)
    file = None if cluster is None else Path(cluster)
    print(submit_controller(origin, loaded, keys, file, asked.words))
    print(f"to see its progress: esegeta status {origin.root(loaded)}")


def gather(results: ResultsArgument, quiet: Quiet = False) -> None:
    """Write the tables and the record from what the parts of a command have finished so far.

    Runs no task of a part, only steps that need the results of all parts. Once nothing is waiting,
    it ends as the command in one process does, with its report. Exit code 0: everything is
    complete, without warnings. 1: a task failed, has a warning, or is not done yet. 2: there is
    nothing to gather.
    """
    from esegeta.cli.progress import listen
    from esegeta.errors import RunError
    from esegeta.workflow.spread.folder import commands_in
    from esegeta.workflow.spread.gather import gather as gather_all
    from esegeta.workflow.spread.origin import Origin, require_here
    from esegeta.workflow.spread.run_part import keeping_hashes

    folders = commands_in(results.absolute())
    if not folders:
        raise RunError(
            f"{results}: holds no parts of a command",
            hint="`esegeta run CONFIG --part 1/4` leaves them in <output>/<name>",
        )
    exit_code = 0
    for folder in folders:
        with keeping_hashes(folder, "gather"), listen(quiet=True) as listener:
            origin = Origin.read(folder)
            command = origin.build(listener)
            require_here(command.root, folder.root)
            gathered = gather_all(command, folder, listener)
        is_over = not gathered.waiting
        code = _show_gathered(origin, gathered, command=command, is_over=is_over, quiet=quiet)
        if gathered.waiting:
            count = gathered.num_to_come
            more = f"{count} task{'s' * (count != 1)}" if count else "something"
            typer.echo(f"{folder.command}: {more} not done yet")
        exit_code = max(exit_code, code)
    raise typer.Exit(exit_code)


def status(
    results: ResultsArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report the progress of the commands in a folder, read from its files alone.

    Exit code 0: the progress was printed. 2: the folder holds no results of a command.
    """
    from esegeta.workflow.spread.status import standings_of

    standings = standings_of(results.absolute())
    if as_json:
        print(json.dumps([one.to_json() for one in standings], indent=2, ensure_ascii=False))
        return
    for one in standings:
        print(f"{one.command}: {_counts(one)}")
        if one.per_hour is not None:
            rate = f"{one.per_hour:.0f}" if one.per_hour >= FEW_PER_HOUR else f"{one.per_hour:.2g}"
            left = f", about {_duration(one.left_s)} left" if one.left_s else ""
            print(f"  {rate} tasks per hour{left}")
        for task in one.running:
            gpu = f", GPU {task.gpu}" if task.gpu else ""
            where = f"{task.process} on {task.host}{gpu}"
            print(f"  running: {task.task} for {task.seconds:.0f} s ({where})")
        for failure in one.failed:
            where = f" ({failure.host}, {failure.log})" if failure.host else ""
            print(f"  failed: {failure.task}: {failure.message}{where}")
        for log in one.logs:
            print(f"  log: {log}")


def _counts(standing: Standing) -> str:
    if standing.submitted is not None:
        job = f" (job {standing.submitted})" if standing.submitted else ""
        return f"submitted{job}, nothing begun yet"
    waiting = "an unknown number" if standing.waiting is None else str(standing.waiting)
    counts = f"{standing.done} done, {len(standing.running)} running"
    return f"{counts}, {len(standing.failed)} failed, {waiting} waiting"


def plan(
    words: HandedOnWords,
    output: Output = None,
    overrides: Overrides = None,
    device: Device = None,
    sbatch: Annotated[
        bool,
        typer.Option("--sbatch", help="Print an array script for Slurm, to be edited."),
    ] = False,
    parts: Annotated[
        int | None,
        typer.Option(
            "--parts", metavar="N", min=1, max=MOST_COUNTED, help="Number of parts; by default 16."
        ),
    ] = None,
    command: OfCommand = "run",
) -> None:
    """Estimate a run: tasks, passes, memory and hours. Nothing is written.

    To estimate the hours, one batch of windows is run forward and backward. For another command
    (--command), only tasks known in advance are counted. Options of the command itself are passed
    on to it.
    """
    from esegeta.cli.handed_on import handed_on
    from esegeta.workflow import Silence, build_experiment
    from esegeta.workflow.spread.batch_script import array_script
    from esegeta.workflow.spread.forecast import forecast_of, shares_of_places

    asked = handed_on(command, words, output=output, overrides=overrides, device=device)
    origin = asked.origin
    if sbatch:
        _require_sound(origin)
        print(array_script(origin, origin.load(), parts, asked.words), end="")
        return
    if command != "run":
        built = origin.build(Silence())
        for line in shares_of_places(built, parts):
            print(line)
        return
    experiment = build_experiment(origin.load(), output=output, device=device)
    for line in forecast_of(experiment, parts).lines():
        print(line)


def _require_sound(origin: Origin) -> None:
    """Say what is wrong with a command now, and not by its jobs.

    It is built on the processor: the machine from which jobs are submitted may have no GPU.
    """
    from esegeta.workflow import Silence

    replace(origin, device="cpu").build(Silence())


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def known_command(name: str) -> str:
    """Return the name of a command that several processes can do.

    Raises:
        ConfigError: there is no such command.
    """
    from esegeta.errors import ConfigError, suggest
    from esegeta.workflow.spread.origin import BUILDERS

    if name not in BUILDERS:
        raise ConfigError(f'--command: "{name}" is not valid', hint=suggest(name, BUILDERS))
    return name


def end_if_shared(
    origin: Origin, ways: Ways, policy: Policy, quiet: bool, prune: bool = False
) -> None:
    """Do a command, or a part of it, beside other processes and exit, where that is asked for."""
    from esegeta.workflow.spread.asked import asked_cluster

    if ways.part is not None:
        ways.require_part_alone()
        raise typer.Exit(_do_part(origin, ways.part, policy, quiet=quiet))
    keys = asked_cluster(origin.load(), ways.workers, ways.cluster)
    if keys is not None:
        raise typer.Exit(_do_on_cluster(origin, keys, policy, quiet=quiet, prune=prune))
