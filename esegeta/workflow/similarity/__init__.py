"""Similarity as a command: built from configs, run case by case, resumed."""

from esegeta.workflow.similarity.build import Comparison, build_comparison
from esegeta.workflow.similarity.tasks import run_comparison

__all__ = ["Comparison", "build_comparison", "run_comparison"]
