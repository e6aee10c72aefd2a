"""Concepts as a command: built from configs, gathered case by case, tested, resumed."""

from esegeta.workflow.concepts.build import ConceptRun, build_concepts
from esegeta.workflow.concepts.tasks import Tested, run_concepts

__all__ = ["ConceptRun", "Tested", "build_concepts", "run_concepts"]
