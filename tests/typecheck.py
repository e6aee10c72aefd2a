"""The checker of annotations in tests: beartype, where an int will do for a float as in mypy.

The import hook of jaxtyping checks each call twice, with a memory of what every axis is long. Only
functions whose annotations name shapes need that; it took a third of the tests' time to keep it
for all others too, which beartype checks by itself.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
with_shapes = jaxtyping.jaxtyped


def install(package: str) -> None:
    """Check the annotations of whatever is imported from a package from now on."""
    jaxtyping.jaxtyped = typed  # what the import hook writes above functions and classes
    jaxtyping.install_import_hook(package, f"{__name__}.checked")


def typed(item: Any = None, *, typechecker: Any) -> Any:
    """Return a function, or a dataclass, that checks what it is given and what it returns."""
    if item is None:
        return functools.partial(typed, typechecker=typechecker)
    if inspect.isclass(item):
        if is_dataclass(item) and not hasattr(item.__init__, "__wrapped__"):
            item.__init__ = typed(item.__init__, typechecker=typechecker)
        return item
    hints = {name: resolved(hint, item) for name, hint in item.__annotations__.items()}
    if any(names_a_shape(hint) for hint in hints.values()):
        return with_shapes(item, typechecker=typechecker)
    item.__annotations__ = hints
    return checked(item)


def resolved(hint: Any, function: Any) -> Any:
    """Return what a hint means; those of names that only mypy sees are not checked."""
    holder = SimpleNamespace(__annotations__={"hint": hint})
    try:
        return get_type_hints(holder, function.__globals__, include_extras=True)["hint"]
    except NameError:
        return Any


def names_a_shape(hint: Any) -> bool:
    """Tell whether any part of a hint is one of jaxtyping's."""
    if isinstance(hint, list):  # a Callable's parameters
        return any(names_a_shape(part) for part in hint)
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(names_a_shape(part) for part in get_args(hint))
