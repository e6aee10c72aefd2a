"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from esegeta.workflow import Policy

EXIT_PARTIAL, EXIT_USER = 1, 2
"""Exit codes: a part is missing; nothing succeeded, for a reason that the user can fix."""

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML experiment.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as methods.0.steps=8."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:1; overrides the config.")
]


Output = Annotated[Path | None, typer.Option("-o", "--output", help="Folder for results.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print failures only.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify", help="Check finished files completely, and redo tasks whose files have changed."
    ),
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Move leftover results of earlier configs into the folder `stale`.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Redo finished tasks.")]


Label = Annotated[
    str | None,
    typer.Option(
        "--label", help="Name or integer of the label; by default the largest predicted one."
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", metavar="NAME", help="Attribution method; may be given several times."
    ),
]
OverOption = Annotated[
    str,
    typer.Option(
        "--over",
        metavar="REGION",
        help="predicted, component, component:2, boundary, voxel:10,20,30, box:0,0,0:8,8,8, "
        "roi:mask.nii.gz, otsu, all, ...",
    ),
]

PartOf = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="I/N",
        help="Run part I of N while other processes run the others; `esegeta gather` writes the "
        "tables when all have ended (docs/cluster.md).",
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="auto|N",
        help="Share the work among processes on this machine; auto: one per GPU, else a few.",
    ),
]
OfCommand = Annotated[
    str,
    typer.Option(
        "--command",
        metavar="NAME",
        help="run, predict, dissect, concepts, similarity, features, inspect, examples or retrain.",
    ),
]
ClusterFile = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        help="A YAML file with the keys of `cluster:`, or `allocation` inside a Slurm allocation.",
    ),
]


def policy_of(overwrite: bool, fail_fast: bool, verify: bool = False) -> Policy:
    """Return how a command treats what is there and what fails, as its options say."""
    from esegeta.workflow import Policy

    return Policy(overwrite, fail_fast, "whole" if verify else "quick")
