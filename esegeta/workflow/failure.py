"""From an exception to a fault that people can read; a bug keeps its traceback."""

from __future__ import annotations

import traceback

from esegeta.errors import EsegetaError, ModelError, is_out_of_memory
from esegeta.workflow.task import Fault


def fault_of(error: Exception, *, memory_hint: str) -> Fault:
    """Return what to tell of an exception.

    Args:
        error: what was raised; it is being handled, for a bug's traceback.
        memory_hint: what to lower when memory ran out.
    """
    if isinstance(error, EsegetaError):
        return Fault(str(error))
    if is_out_of_memory(error):
        return Fault(str(ModelError("out of memory", hint=memory_hint)))
    text = "".join(traceback.format_exception(error))
    return Fault(f"{type(error).__name__}: {error}", is_bug=True, traceback=text)
