"""Commands that run nothing: `validate`, `methods`, `scores`, `layers`."""

from __future__ import annotations

from typing import Annotated

import typer

from esegeta.cli.options import (
    ConfigPath,
    Device,
    Overrides,
)


def validate(config: ConfigPath, overrides: Overrides = None, device: Device = None) -> None:
    """Check an experiment, its files, headers, weights and layers, without running it."""
    from esegeta.cli.show import show_checked
    from esegeta.config import load_config

    show_checked(load_config(config, overrides or []), device=device)


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Describe only this method.")
    ] = None,
) -> None:
    """List the attribution methods, or describe one."""
    from esegeta.cli.catalogue import show_method, show_methods

    show_methods() if name is None else show_method(name)


def scores(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Describe only this score.")
    ] = None,
) -> None:
    """List the scores with their ranges and better directions, or describe one."""
    from esegeta.cli.catalogue import show_score, show_scores

    show_scores() if name is None else show_score(name)


def layers(config: ConfigPath, overrides: Overrides = None) -> None:
    """Print the network of an experiment as a tree with output shapes for one window."""
    from esegeta.cli.show import show_layers
    from esegeta.config import load_config

    show_layers(load_config(config, overrides or []))
