"""The command line: which commands there are, and how it ends."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from esegeta.cli.analyses import concepts, dissect, examples, features, inspect, similarity
from esegeta.cli.finished import compare, report
from esegeta.cli.from_model import explain, init, view
from esegeta.cli.handed_on import WRAPPER
from esegeta.cli.lookups import layers, methods, scores, validate
from esegeta.cli.many import gather, plan, status, submit
from esegeta.cli.options import EXIT_PARTIAL, EXIT_USER
from esegeta.cli.runs import demo, predict, retrain, run
from esegeta.errors import DiskFullError, EsegetaError, told_by_system
from esegeta.stop import Stopped, stopped_by_signals


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

for command in (
    *(explain, run, demo, predict, compare, report, view),
    *(dissect, concepts, similarity, features, inspect, examples, retrain),
    *(validate, methods, scores, layers, init),
    *(plan, submit, gather, status),
):
    takes_others = command in (plan, submit)
    app.command(context_settings=WRAPPER if takes_others else None)(command)


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
        print(f"{stopped}; run the same command again to continue from here", file=sys.stderr)
        sys.exit(stopped.exit_code)
