"""Concepts as a command: built from configs, gathered case by case, tested, resumed."""

from esegeta.workflow.concepts.build import ConceptRun, build_concepts
from esegeta.workflow.concepts.tasks import run_concepts

__all__ = ["ConceptRun", "build_concepts", "run_concepts"]
