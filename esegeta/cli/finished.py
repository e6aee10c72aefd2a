"""Commands over finished runs: `compare`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
            help="Folder for the report; by default `report` in the run's folder, or next to the "
            "folders of several runs.",
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
    page = write_page(results, output, single_file=single_file, quiet=quiet)
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def write_page(results: list[Path], output: Path | None, *, single_file: bool, quiet: bool) -> Path:
    """Write the page of finished runs, and say where it lies."""
    from esegeta.compare.pages import report_place, write_report

    page = write_report(results, output or report_place(results), single_file=single_file)
    if not quiet:
        typer.echo(f"report: {page}")
    return page
