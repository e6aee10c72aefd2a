"""How a comparison is shown: what is to be known, a short leaderboard, where the files lie."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from esegeta.compare import (
    Study,
    held_up_by_random,
    nulls_sentence,
    num_ranked_scores,
    standings,
    testing_sentence,
)

MOST_ROWS = 12
PLAIN_WIDTH = 140


def show_study(study: Study, root: Path, *, quiet: bool) -> None:
    """Print warnings to the error stream and, unless quiet, the leaderboard."""
    failures = study.merged.failures
    degenerate = sum(one.is_degenerate for one in failures)
    for note in study.merged.notes:
        print(f"warning: {note}", file=sys.stderr)
    if failures:
        others = len(failures) - degenerate
        print(
            f"warning: {degenerate} degenerate maps are excluded and {others} other tasks failed; "
            f"they are named in {root / 'report.md'}",
            file=sys.stderr,
        )
    if quiet:
        return
    console = _console()
    if num_ranked_scores(study):
        console.print(_leaderboard(study))
        hidden = len(study.merged.competitors) - MOST_ROWS
        if hidden > 0:
            console.print(f"... and {hidden} more", highlight=False)
    else:
        print("no ranks: no score has two competitors that can be ranked")
    print(nulls_sentence(study))
    print(testing_sentence(study))
    print(f"leaderboard in {root / 'leaderboard.md'}; details in {root / 'report.md'}")


def _leaderboard(study: Study) -> Table:
    """Return the best competitors by mean rank; daggers as in leaderboard.md."""
    order = standings(study)[:MOST_ROWS]
    weak = {competitor for _, competitor in held_up_by_random(study)}
    families = [
        family for family in study.families if any(family in one.by_family for one in order)
    ]
    table = Table(box=None, pad_edge=False)
    table.add_column("mean ranks")
    for head in (*families, "all"):
        table.add_column(head, justify="right")
    for one in order:
        name = escape(study.merged.label(one.competitor))
        name = f"[italic]{name}[/]" if one.competitor.null else name
        name += " †" if one.competitor in weak else ""
        ranks = [one.by_family.get(family) for family in families]
        cells = ["" if rank is None else f"{rank:.2f}" for rank in ranks]
        table.add_row(name, *cells, f"{one.overall:.2f}" if one.num_scores else "")
    if weak:
        table.caption = "†: does not beat the random map on a faithfulness score"
        table.caption_justify = "left"
    return table


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
