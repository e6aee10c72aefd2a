"""Retraining: do networks need what a method points at? ROAR and KAR."""

from esegeta.retrain.execute import run_study
from esegeta.retrain.study import Study, build_study

__all__ = ["Study", "build_study", "run_study"]
