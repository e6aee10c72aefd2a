"""From configs to results: commands are lists of tasks, and one engine does them."""

from esegeta.workflow.attribute import run_experiment
from esegeta.workflow.build import (
    Basis,
    Experiment,
    build_basis,
    build_experiment,
    build_predictions,
)
from esegeta.workflow.command import EXIT_USER, Outcome, Policy
from esegeta.workflow.networks import build_network, construct_network, probe_network
from esegeta.workflow.predict import run_predictions
from esegeta.workflow.task import Ended, Listener, Silence

__all__ = [
    "EXIT_USER",
    "Basis",
    "Ended",
    "Experiment",
    "Listener",
    "Outcome",
    "Policy",
    "Silence",
    "build_basis",
    "build_experiment",
    "build_network",
    "build_predictions",
    "construct_network",
    "probe_network",
    "run_experiment",
    "run_predictions",
]
