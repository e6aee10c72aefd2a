"""Experiments: built from configs, run unit by unit, resumed."""

from esegeta.workflow.build import (
    Basis,
    Experiment,
    build_basis,
    build_experiment,
    build_network,
    construct_network,
    probe_network,
)
from esegeta.workflow.execute import Policy, run_experiment
from esegeta.workflow.outcome import EXIT_USER, Ended, Listener, Outcome, Silence, TaskResult

__all__ = [
    "EXIT_USER",
    "Basis",
    "Ended",
    "Experiment",
    "Listener",
    "Outcome",
    "Policy",
    "Silence",
    "TaskResult",
    "build_basis",
    "build_experiment",
    "build_network",
    "construct_network",
    "probe_network",
    "run_experiment",
]
