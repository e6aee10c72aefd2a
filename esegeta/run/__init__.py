"""Experiments: built from configs, run unit by unit, resumed."""

from esegeta.run.build import (
    Basis,
    Experiment,
    build_basis,
    build_experiment,
    build_network,
    probe_network,
)
from esegeta.run.execute import Policy, run_experiment
from esegeta.run.outcome import EXIT_USER, Listener, Outcome, Silence, UnitResult

__all__ = [
    "EXIT_USER",
    "Basis",
    "Experiment",
    "Listener",
    "Outcome",
    "Policy",
    "Silence",
    "UnitResult",
    "build_basis",
    "build_experiment",
    "build_network",
    "probe_network",
    "run_experiment",
]
