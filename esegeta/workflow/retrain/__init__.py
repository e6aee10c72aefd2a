"""Retraining: do networks need what a method points at? ROAR and KAR."""

from esegeta.workflow.retrain.build import Retraining, build_retraining
from esegeta.workflow.retrain.tasks import run_retraining

__all__ = ["Retraining", "build_retraining", "run_retraining"]
