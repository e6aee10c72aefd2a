"""Dissection as a command: built from configs, run case by case, resumed."""

from esegeta.dissection.execute import Dissected, run_study
from esegeta.dissection.study import Study, build_study

__all__ = ["Dissected", "Study", "build_study", "run_study"]
