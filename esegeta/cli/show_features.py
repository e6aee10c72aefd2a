"""What commands print of pictures of features, and of a look inside a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from esegeta.axes import shape_text
from esegeta.cli.help_page import console_for_tables
from esegeta.errors import ConfigError
from esegeta.workflow import Outcome

if TYPE_CHECKING:
    from esegeta.workflow.features import FeatureJob
    from esegeta.workflow.inspect import Inspection

FIT = "fit"


def config_of_words(words: Sequence[str]) -> tuple[Path, bool]:
    """Return the config that is named on the command line, and whether `fit` stands before it.

    Raises:
        ConfigError: there is no config, or more than one.
    """
    fit_only = words[0] == FIT and len(words) > 1
    named = list(words[1:] if fit_only else words)
    if named == [FIT] and not Path(FIT).is_file():
        raise ConfigError("no config is named", hint="`esegeta features fit CONFIG`")
    if len(named) != 1:
        raise ConfigError(
            f"one config at a time, and there are {len(named)}: {', '.join(named)}",
            hint="`esegeta features CONFIG` or `esegeta features fit CONFIG`",
        )
    return Path(named[0]), fit_only


def show_pictures(outcome: Outcome) -> None:
    """Print how strong and how real each picture is."""
    made = [ended for ended in outcome.results if "activation" in ended.content]
    if not made:
        return
    heads = ("objective", "picture", "activation", "above real", "high freq.", "real", "distance")
    table = Table(*heads, box=None, pad_edge=False)
    for ended in made:
        names, known = ended.task.data["names"], ended.content
        table.add_row(
            escape(names["objective"]),
            names["picture"],
            f"{known['activation']:.3g}",
            f"{known['percentile']:.0f} %",
            f"{known['high_frequency']:.3f}",
            f"{known['high_frequency_real']:.3f}",
            f"{known['distance']:.2f} sd",
        )
    console_for_tables().print(table)


def show_features(job: FeatureJob) -> None:
    """Print which pictures would be made."""
    keys = job.keys
    count = sum(len(job.variants(item)) for item in job.objectives)
    print(f"{job.basis.config.document.path}: valid for `esegeta features`")
    print(f"  cases: {', '.join(case.name for case in job.basis.cases)}")
    for item in job.objectives:
        ways = ", ".join(one.name for one in job.variants(item))
        print(f"  {item.name}: {item.objective.describe()}; {ways}")
    print(
        f"  {count} pictures of {shape_text(keys.size)}, {keys.steps} steps and {keys.seeds} seeds "
        f"each, against {keys.patches} real patches"
    )
    print(f"  results go to {job.folder}")
    for note in job.basis.notes:
        print(f"  note: {note}")


def show_inspection(job: Inspection) -> None:
    """Print what would be looked at."""
    layers = ", ".join(f"{layer.name} ({layer.num_units})" for layer in job.layers)
    print(f"{job.basis.config.document.path}: valid for `esegeta inspect`")
    print(f"  cases: {', '.join(case.name for case in job.basis.cases)}")
    print(f"  layers (units): {layers}")
    print(f"  results go to {job.folder}")
    for note in job.basis.notes:
        print(f"  note: {note}")
