"""Dissection as a command: built from configs, run case by case, resumed."""

from esegeta.workflow.dissect.build import Dissection, build_dissection
from esegeta.workflow.dissect.tasks import Dissected, run_dissection

__all__ = ["Dissected", "Dissection", "build_dissection", "run_dissection"]
