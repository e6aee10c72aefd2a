"""Commands that take a model and images, and need no config: `explain`, `view`, `init --from`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esegeta.cli.options import (
    Device,
    FailFast,
    Label,
    Methods,
    Output,
    OverOption,
    Overrides,
    Overwrite,
    Quiet,
)


def explain(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A results folder of nnU-Net, a MONAI bundle, a TorchScript or .pt2 file, "
            "weights with a config.yaml next to them, or a config.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="One file per channel, a DICOM folder, or a folder of cases."
        ),
    ],
    label: Label = None,
    methods: Methods = None,
    over: OverOption = "predicted",
    output: Output = None,
    shown: Annotated[bool, typer.Option("--open", help="Open the picture.")] = False,
    overrides: Overrides = None,
    device: Device = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Explain a model's prediction for an image; needs no config, and writes one.

    OUT/config.yaml holds what was run, with comments: edit it and run it again with `esegeta run`.
    Exit codes are those of `run`.
    """
    from esegeta.cli.one_line import explain_and_show
    from esegeta.config.asked import asked_of
    from esegeta.workflow import Policy

    asked = asked_of(model, images, label, methods, over, device, overrides)
    policy = Policy(overwrite, fail_fast)
    outcome = explain_and_show(asked, output, policy, quiet=quiet, shown=shown)
    raise typer.Exit(outcome.exit_code)


def view(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|MODEL", help="A config, or a model (as for `explain`) with an image."
        ),
    ],
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...]", help="As for `explain`; leave it out with a config."),
    ] = None,
    case: Annotated[
        str | None, typer.Option("--case", help="Name of the case; by default the first.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help="Port of the address; by default any free one."
        ),
    ] = None,
    shown: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the maps that you keep.")
    ] = None,
    overrides: Overrides = None,
    device: Device = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the address only.")] = False,
) -> None:
    """Open a page that explains the voxel you click: "why this voxel?"; for this machine only.

    Ctrl-C stops it, with exit code 0. Exit code 2: the model, the image or the port cannot be used.
    """
    from esegeta.cli.live import open_page
    from esegeta.config.asked import asked_of

    asked = asked_of(model, images or [], None, None, "predicted", device, overrides)
    open_page(asked, output, case=case, port=port, shown=shown, quiet=quiet)


def init(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH | IMAGE...]",
            help="Where to write the config; with --from MODEL, the images.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--from", metavar="MODEL", help="A model's folder or file, as for `explain`."),
    ] = None,
    label: Label = None,
    methods: Methods = None,
    over: OverOption = "predicted",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where to write the config; by default esegeta.yaml."),
    ] = None,
    overrides: Overrides = None,
    device: Device = None,
) -> None:
    """Write a commented config to start from; with --from, the config of a model."""
    from esegeta.cli.starter import starter_path, write_starter

    path, images = starter_path(arguments or [], output, has_model=model is not None)
    if model is None:
        write_starter(path)
        typer.echo(
            f"wrote {path}; it runs as it is, on a sample: esegeta run {path}; enter your own "
            f"model, labels and data, then: esegeta validate {path}"
        )
        return
    from esegeta.config.asked import asked_of
    from esegeta.workflow.one_line import init_from

    init_from(asked_of(model, images, label, methods, over, device, overrides), path)
    typer.echo(f"wrote {path}; check it with `esegeta validate {path}`, then: esegeta run {path}")
