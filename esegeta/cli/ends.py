"""What a command prints when its work is done: the same, however many processes did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from esegeta.cli.finished import write_page
from esegeta.cli.options import EXIT_PARTIAL
from esegeta.cli.progress import show_outcome, show_stale
from esegeta.cli.show import show_dissected, show_predicted
from esegeta.cli.show_concepts import show_tested
from esegeta.cli.show_examples import show_found
from esegeta.cli.show_features import show_pictures
from esegeta.cli.show_similarity import show_compared
from esegeta.config import RunConfig
from esegeta.errors import EsegetaError
from esegeta.report import read_sidecar
from esegeta.results_folder import ANALYSES
from esegeta.workflow import Outcome
from esegeta.workflow.one_result import OneResult


@dataclass(frozen=True)
class Ending:
    """A command that is done.

    Args:
        command: its name, such as run.
        config: what it was run with.
        folder: where its results lie.
        outcome: how its tasks ended.
        exit_code: the exit code that follows from it.
    """

    command: str
    config: RunConfig
    folder: Path
    outcome: Outcome
    exit_code: int


def show_end(ending: Ending, *, quiet: bool, prune: bool = False) -> int:
    """Print what a command has found and how it ended, write the report if the config wants one.

    Args:
        ending: what is done.
        quiet: print only warnings and errors.
        prune: move aside what earlier configs left of a run.

    Returns:
        The exit code.
    """
    outcome, folder = ending.outcome, ending.folder
    show_result = OF_ONE_RESULT.get(ending.command)
    if show_result is not None and not outcome.failures and not quiet:
        record = RECORDS.get(ending.command)
        found = {} if record is None else read_sidecar(folder / record)
        show_result(OneResult(outcome, found or {}), folder)
        return ending.exit_code
    show_tasks = OF_TASKS.get(ending.command)
    if show_tasks is not None and not quiet:
        show_tasks(outcome, ending.config)
    show_outcome(outcome, folder, quiet=quiet)
    if ending.command == "run":
        return _end_run(ending, quiet=quiet, prune=prune)
    return ending.exit_code


def _end_run(ending: Ending, *, quiet: bool, prune: bool) -> int:
    """Say what earlier configs left, and write the report that the config wants."""
    outcome, root = ending.outcome, ending.folder
    show_stale(root, prune=prune, quiet=quiet)
    if ending.config.keys.report and len(outcome.failures) < len(outcome.results):
        try:
            write_page([root], None, single_file=False, quiet=quiet)
        except EsegetaError as error:  # the maps are there all the same
            typer.echo(f"error: no report: {error}", err=True)
            return ending.exit_code or EXIT_PARTIAL
    return ending.exit_code


OF_ONE_RESULT: Mapping[str, Callable[[OneResult, Path], None]] = {
    "dissect": show_dissected,
    "concepts": show_tested,
    "similarity": show_compared,
}
"""What is printed instead of counts, of commands whose tasks make one result, when it is there."""
RECORDS = {"dissect": ANALYSES["dissection"], "similarity": ANALYSES["similarity"]}
"""What it is read from, beside tables."""
OF_TASKS: Mapping[str, Callable[[Outcome, RunConfig], None]] = {
    "predict": lambda outcome, config: show_predicted(outcome, config.keys.least_dice),
    "features": lambda outcome, config: show_pictures(outcome),
    "examples": lambda outcome, config: show_found(outcome),
}
"""What is printed above counts, of commands with a result for each task."""
