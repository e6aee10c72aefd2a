"""What a config would do, once all of its blocks have been checked."""

from __future__ import annotations

from esegeta.cli.dissection import show_dissection
from esegeta.cli.show import show_experiment, show_retraining
from esegeta.config import RunConfig
from esegeta.errors import ConfigError
from esegeta.workflow import build_experiment
from esegeta.workflow.dissect import build_dissection
from esegeta.workflow.retrain import build_retraining


def show_checked(config: RunConfig, *, device: str | None) -> None:
    """Check every block of a config, and only then print what it would do.

    Raises:
        EsegetaError: the first thing found wrong with any of them.
    """
    keys = config.keys
    if keys.dissection is None and len(keys.missing_of_run) == 2:
        place = config.document.place(())
        raise ConfigError(
            "\n".join(f"{place}: {key}: missing" for key in keys.missing_of_run),
            hint="`esegeta run` needs both; `esegeta dissect` needs a `dissection` instead",
        )
    dissection = None if keys.dissection is None else build_dissection(config, device=device)
    if keys.targets or dissection is None:
        experiment = build_experiment(config, device=device)
        retraining = None if keys.retrain is None else build_retraining(experiment)
        show_experiment(experiment)
        if retraining is not None:
            show_retraining(retraining)
    if dissection is not None:
        show_dissection(dissection)
