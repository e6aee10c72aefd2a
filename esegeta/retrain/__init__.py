"""Retraining: do networks need what a method points at? ROAR and KAR."""

from esegeta.retrain.execute import run_retraining
from esegeta.retrain.retraining import Retraining, build_retraining

__all__ = ["Retraining", "build_retraining", "run_retraining"]
