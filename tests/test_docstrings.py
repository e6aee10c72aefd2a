"""Every public name says what it takes: shapes, units, errors and sources."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from torch import Tensor

import esegeta
import esegeta.api
import esegeta.errors
from esegeta.explain import METHODS
from esegeta.score import SCORES
from tests.each import for_each

LINES = 20
"""Lines of a docstring; where many arguments are listed, a line each and these beside them."""
BESIDE_ARGUMENTS = 9

ARRAY = re.compile(r"\b(Tensor|ndarray|NDArray|Image|Mask|LabelMap|Field|Logits|Batch|Scalars)\b")
SHAPE = re.compile(r"`[^`]*(\*[A-Z]|\b[A-Z]\b)[^`]*`|\d x \d")
UNITS = {"mm": r"\bmm\b|millimetre", "ml": r"\bml\b", "mb": r"\bMB\b", "hu": r"window|\bHU\b"}
ERRORS = {
    name
    for name, item in vars(esegeta.errors).items()
    if isinstance(item, type) and issubclass(item, esegeta.EsegetaError)
}
METHODS_OF_TABLES = [*METHODS.values(), *SCORES.values()]


def public() -> dict[str, Any]:
    """Return what `import esegeta` gives, by name; of a room that is a command, the command."""
    rooms = esegeta._ROOMS
    return {
        name: getattr(esegeta.api if name in rooms else esegeta, name) for name in esegeta.__all__
    }


def of_rooms() -> dict[str, Any]:
    """Return the classes and functions that rooms list as their own, by dotted name."""
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(esegeta.__path__, "esegeta."):
        room = importlib.import_module(module.name) if module.ispkg else None
        for name in getattr(room, "__all__", ()):
            item = getattr(room, name)
            if inspect.isfunction(item) or isinstance(item, type):
                found[f"{module.name}.{name}"] = item
    return found


def methods_of(items: dict[str, Any]) -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield public methods by dotted name, with those of the same name that they stand for."""
    for where, item in items.items():
        kinds = item.__mro__ if isinstance(item, type) else ()
        for name, member in vars(item).items() if kinds else ():
            call = getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(inspect.unwrap(call)):
                above = [vars(kind).get(name) for kind in kinds]
                yield f"{where}.{name}", call, [getattr(one, "__func__", one) for one in above]


PUBLIC = public()
ROOMS = of_rooms()
METHODS_OF_PUBLIC = list(methods_of(PUBLIC))
CALLS = {where: call for where, call, _ in methods_of(ROOMS)} | {
    where: item for where, item in ROOMS.items() if inspect.isfunction(item)
}


@cache
def arguments_in(text: str) -> dict[str, str]:
    """Return what the block `Args:` of a docstring says, by argument."""
    block = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    found: dict[str, str] = {}
    for line in textwrap.dedent(block[1]).splitlines() if block else ():
        start = re.match(r"(\w+): (.*)", line)
        if start:
            found[start[1]] = start[2]
        elif found and line.strip():
            found[list(found)[-1]] += " " + line.strip()
    return found


def told(items: Iterable[Any]) -> dict[str, str]:
    """Return what docstrings say of arguments, the first that does."""
    found: dict[str, str] = {}
    for item in items:
        found = arguments_in(inspect.getdoc(item) or "") | found if item is not None else found
    return found


def taken(call: Any) -> dict[str, str]:
    """Return the annotation of each argument, as it is written."""
    own = inspect.signature(inspect.unwrap(call)).parameters.values()
    named = [one for one in own if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return {
        one.name: str(one.annotation)
        for one in named
        if one.name not in ("self", "cls") and not one.name.startswith("_")
    }


def raised(call: Any) -> set[str]:
    """Return the errors for users that a call's own code raises."""
    code = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(call))))
    calls = [one.exc for one in ast.walk(code) if isinstance(one, ast.Raise)]
    names = [call.func for call in calls if isinstance(call, ast.Call)]
    return {name.id for name in names if isinstance(name, ast.Name)} & ERRORS


def faults(arguments: dict[str, str], said: dict[str, str]) -> Iterator[str]:
    """Yield what is not said of arguments: what one is, its shape or its unit."""
    for name, annotation in arguments.items():
        text = said.get(name)
        if text is None:
            yield f"{name}: not said what it is"
            continue
        is_array = ARRAY.search(annotation) and "Callable" not in annotation
        if is_array and not SHAPE.search(text):
            yield f"{name}: an array whose shape is not said ({text})"
        unit = UNITS.get(name.rpartition("_")[2]) if "_" in name else None
        if unit and not re.search(unit, text):
            yield f"{name}: its unit is not said ({text})"


def length_of(text: str) -> int:
    return len(text.splitlines())


def test_a_fault_of_each_kind_is_found() -> None:
    def call(data: Tensor, spacing_mm: float, other: int) -> None:
        """Do.

        Args:
            data: an image.
            spacing_mm: length of a
                voxel.
        """
        raise esegeta.EsegetaError("")

    found = [fault.partition(" (")[0] for fault in faults(taken(call), told([call]))]
    assert found == [
        "data: an array whose shape is not said",
        "spacing_mm: its unit is not said",
        "other: not said what it is",
    ]
    assert told([call])["spacing_mm"] == "length of a voxel."
    assert not list(faults({"data": "Tensor"}, {"data": "image `C *S`."}))


@for_each(PUBLIC)
def test_public_names_document_their_arguments(name: str) -> None:
    item = PUBLIC[name]
    text = inspect.getdoc(item) or ""
    arguments = {} if inspect.isabstract(item) else taken(item)
    kinds = item.__mro__ if isinstance(item, type) else [item]
    assert text.split("\n\n")[0].rstrip().endswith((".", "?")), text
    assert list(faults(arguments, told(kinds))) == []
    assert length_of(text) <= max(LINES, BESIDE_ARGUMENTS + len(arguments))
    if inspect.isfunction(item):
        assert "Raises:" in text


@for_each(METHODS_OF_PUBLIC, called=lambda case: case[0])
def test_methods_of_public_classes_document_their_arguments(
    where: str, call: Any, above: list[Any]
) -> None:
    assert inspect.getdoc(call)
    assert list(faults(taken(call), told([call, *above]))) == []


def test_packages_document_the_names_that_they_list() -> None:
    found = []
    for where, item in ROOMS.items():
        text = inspect.getdoc(item) or ""
        if not text or text == inspect.getdoc(object):
            found.append(f"{where}: no docstring")
        arguments = taken(item) if "Args:" in text else {}
        if length_of(text) > max(LINES, BESIDE_ARGUMENTS + len(arguments)):
            found.append(f"{where}: {length_of(text)} lines")
        kinds = item.__mro__ if isinstance(item, type) else [item]
        own = faults(arguments, told(kinds))
        found += [f"{where}: {fault}" for fault in own if "an array" not in fault]
    assert found == []


def test_raised_errors_are_documented() -> None:
    silent = {where: call for where, call in CALLS.items() if "Raises:" not in (call.__doc__ or "")}
    assert [where for where, call in silent.items() if raised(call)] == []


@for_each(METHODS_OF_TABLES)
def test_methods_and_scores_name_their_source(kind: type[Any]) -> None:
    text = inspect.getdoc(kind) or ""
    source = re.search(r"^Source: (.+(?:\n.+)*)", text, re.MULTILINE)
    assert source, text
    assert re.search(r"\b(19|20)\d\d\b|ours|captum\b|see `", source[1]), source[1]
