"""Examples: which cases speak for a network, which taught it what, what it seems to go by."""

from esegeta.workflow.examples.build import ExampleStudy, build_examples
from esegeta.workflow.examples.tasks import run_examples

__all__ = ["ExampleStudy", "build_examples", "run_examples"]
