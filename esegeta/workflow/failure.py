"""From an exception to a fault that people can read; a bug keeps its traceback."""

from __future__ import annotations

import traceback

import torch

from esegeta.errors import EsegetaError, ModelError
from esegeta.workflow.task import Fault

OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


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


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception means that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in OUT_OF_MEMORY_WORDS
    )
