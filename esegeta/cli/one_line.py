"""`esegeta explain` and `esegeta init --from`: a model and an image, and no config yet."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import typer

from esegeta.cli.progress import listen, show_outcome
from esegeta.config.asked import Asked
from esegeta.workflow import Outcome, Policy
from esegeta.workflow.one_line import explain_model, say_nothing


def explain_and_show(
    asked: Asked, output: Path | None, policy: Policy, *, quiet: bool, shown: bool
) -> Outcome:
    """Run what the arguments stand for, and say what is done and where it lies.

    Args:
        asked: the arguments.
        output: the run's folder.
        policy: how to treat existing results and failures.
        quiet: whether to print only failures.
        shown: whether to open the first picture, where there is a screen.

    Raises:
        EsegetaError: the first thing found wrong with any argument.
    """
    say = say_nothing if quiet else _say
    done = explain_model(asked, output, policy, listening=partial(listen, quiet=quiet), say=say)
    show_outcome(done.outcome, done.experiment.root, quiet=quiet)
    say(f"config in {done.config}; edit it, then: esegeta run {done.config}")
    if done.picture is not None:
        say(f"picture: {done.picture}")
        if shown and not _open(done.picture):
            say("it cannot be opened: there is no screen")
    return done.outcome


def _say(text: str) -> None:
    print(text, flush=True)


def _open(path: Path) -> bool:
    """Open a file with the desktop's own program; tell whether there is a desktop."""
    has_screen = (
        sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return bool(has_screen) and typer.launch(str(path)) == 0
