"""The checker of annotations in tests: beartype, where an int will do for a float as in mypy.

The import hook of jaxtyping would check the arguments of each call twice and keep a memory of what
every axis is long. Here beartype checks each call once, within such a memory only where annotations
name shapes. A function inside a function is defined anew at each call of the outer one: its checker
is compiled once and handed from one definition to the next.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from types import CellType, CodeType, FunctionType, SimpleNamespace
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import _import_hook

checked = checked_on_its_line = beartype(conf=BeartypeConf(is_pep484_tower=True))
axes_remembered = jaxtyping.jaxtyped("context")

INNER: dict[CodeType, tuple[FunctionType, FunctionType]] = {}
"""By the code of an inner function: a copy of it that captured nothing, and that copy's checker."""


def install(package: str) -> None:
    """Check the annotations of whatever is imported from a package from now on."""
    jaxtyping.jaxtyped = typed  # what the import hook writes above functions and classes
    writer = _import_hook.JaxtypingTransformer
    writer.visit_FunctionDef = on_its_line(writer.visit_FunctionDef)
    # Compiled modules are kept by this name: another one where what is written changes.
    jaxtyping.install_import_hook(package, f"{__name__}.checked_on_its_line")


def on_its_line(write: Callable[..., Any]) -> Callable[..., Any]:
    """Return what writes a checker above a function, all of it on the function's own line.

    The hook leaves parts of it on line 1, by way of which an inner function would be reached: what
    measures branches would miss each that leads to one.
    """

    def visit(transformer: Any, node: ast.FunctionDef) -> Any:
        found = write(transformer, node)
        for decorator in node.decorator_list:
            for part in ast.walk(decorator):
                ast.copy_location(part, decorator)
        return found

    return visit


def typed(item: Any = None, *, typechecker: Any) -> Any:
    """Return a function, or a dataclass, that checks what it is given and what it returns."""
    if item is None:
        return functools.partial(typed, typechecker=typechecker)
    if inspect.isclass(item):
        if is_dataclass(item) and not hasattr(item.__init__, "__wrapped__"):
            item.__init__ = typed(item.__init__, typechecker=typechecker)
        return item
    checker = inner_checker(item, typechecker) if is_inner(item) else checker_of(item, typechecker)
    has_shapes = any(names_a_shape(hint) for hint in checker.__annotations__.values())
    return remembering_axes(checker) if has_shapes else checker


def checker_of(function: Any, typechecker: Any) -> Any:
    """Return a function that checks another one, whose hints it resolves."""
    hints = function.__annotations__
    function.__annotations__ = {name: resolved(hint, function) for name, hint in hints.items()}
    return typechecker(function)


def is_inner(function: Any) -> bool:
    """Tell whether a function is defined anew at each call of another one."""
    return inspect.isfunction(function) and "<locals>" in function.__qualname__


def inner_checker(function: FunctionType, typechecker: Any) -> FunctionType:
    """Return the checker of an inner function: the first definition's, handed to this one.

    What beartype writes finds the function that it checks among its own keyword defaults.
    """
    code = function.__code__
    if code not in INNER:
        cells = tuple(CellType() for _ in code.co_freevars)
        bare = FunctionType(code, function.__globals__, function.__name__, closure=cells)
        functools.update_wrapper(bare, function)
        del bare.__wrapped__
        bare.__annotations__ = dict(function.__annotations__)
        INNER[code] = bare, checker_of(bare, typechecker)
    bare, first = INNER[code]
    if first is bare:  # there is nothing to check
        return function
    checker = FunctionType(first.__code__, first.__globals__, first.__name__)
    functools.update_wrapper(checker, function)
    checker.__annotations__ = first.__annotations__
    defaults = (first.__kwdefaults__ or {}).items()
    checker.__kwdefaults__ = {key: function if it is bare else it for key, it in defaults}
    assert function in checker.__kwdefaults__.values()
    return checker


def remembering_axes(checker: Callable[..., Any]) -> Callable[..., Any]:
    """Return a checker for which an axis has one length throughout a call."""

    @functools.wraps(checker)
    def within(*args: Any, **kwargs: Any) -> Any:
        with axes_remembered:
            return checker(*args, **kwargs)

    return within


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
