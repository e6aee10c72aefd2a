"""What pydantic found wrong, in the words of the file: place, key, what was found, nearest name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from esegeta.config.keys import Keys
from esegeta.config.lines import Document, Path_
from esegeta.errors import suggest

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
WRONG_BRANCH = {
    "dataclass_type": "a block of keys",
    "model_type": "a block of keys",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "text",
    "float_type": "a number",
    "int_type": "a whole number",
}
"""Errors of branches of a union that the value was never meant for, and what they expect."""

IN_WORDS = {
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be finite",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} values",
    "too_long": "must have at most {max_length} values",
}
"""What a value must be, by pydantic's kind of error and its numbers."""

BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")

_ONE = re.compile(r"\b1 (character|value)s")

_FOUND = re.compile(r"\(found [^()]*\)$")
"""End of messages that already say what was found."""


def config_error(error: ValidationError, document: Document, model: Any, prefix: Path_ = ()) -> str:
    """Return all errors as lines of `file:line: key: what`."""
    problems: list[tuple[Path_, Any]] = []
    for problem in error.errors():
        place: Path_ = (*prefix, *_without_types(problem["loc"], document, prefix))
        problems.append((place, problem))
    specific = [place for place, problem in problems if problem["type"] not in WRONG_BRANCH]
    beyond = {place for place, problem in problems if problem["type"] in BOUNDS}
    kept = []
    for place, problem in problems:
        if problem["type"] == "literal_error" and place in beyond:
            continue  # a number is no misspelt word
        text = _word(problem, place, model, prefix)
        if problem["type"] in WRONG_BRANCH:
            if any(other[: len(place)] == place for other in specific):
                continue
            wanted = [other["type"] for at, other in problems if at == place]
            text = _wanted(wanted, problem["input"])
        colon = "" if text.startswith("of ") else ":"  # what follows speaks of a part of the key
        kept.append(f"{document.place(place)}: {show_keys(place)}{colon} {text}")
    return "\n".join(dict.fromkeys(kept))


def _wanted(types: Sequence[str], found: Any) -> str:
    words = dict.fromkeys(word for kind, word in WRONG_BRANCH.items() if kind in types)
    return f"should be {' or '.join(words)} (found {_brief(found)})"


def _word(problem: Any, place: Path_, model: Any, prefix: Path_) -> str:
    if problem["type"] in UNKNOWN_KEY:
        return f"unknown key; {suggest(place[-1], _keys_at(model, place[len(prefix) : -1]))}"
    if problem["type"] == "missing":
        return "missing"
    if problem["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", problem.get("ctx", {}).get("expected", ""))
        hint = suggest(problem["input"], choices) if choices else problem["msg"]
        return f'"{problem["input"]}" is not known; {hint}'
    message: str = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in IN_WORDS:
        numbers = problem.get("ctx", {})
        message = IN_WORDS[problem["type"]].format(**numbers)
        message = _ONE.sub(r"1 \1", message)
    if _FOUND.search(message):
        return message
    return f"{message} (found {_brief(problem['input'])})"


def _without_types(loc: Sequence[Any], document: Document, prefix: Path_) -> Path_:
    """Drop what pydantic puts between keys for the branches of unions."""
    keys: list[str | int] = []
    value: Any = document.content
    for part in prefix:
        value = _step(value, part)
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        inside = (isinstance(value, dict) and (part in value or last)) or (
            isinstance(value, list) and isinstance(part, int)
        )
        branch = isinstance(part, str) and re.search(r"[\[\]-]|^(str|int|float|list|tuple)$", part)
        if inside and not (branch and not _has(value, part)):
            keys.append(part)
            value = _step(value, part)
    return tuple(keys)


def _has(value: Any, part: Any) -> bool:
    return isinstance(value, dict) and part in value


def _step(value: Any, part: Any) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _keys_at(model: Any, keys: Path_) -> list[str]:
    """Return the valid keys of the block at a path of a pydantic model or a dataclass."""
    names_next = False
    for key in keys:
        if isinstance(key, int):
            continue
        if names_next:  # a name that the user gave, not a key
            names_next = False
            continue
        annotations = _annotations(model)
        if key not in annotations:
            return []
        names_next = _is_by_name(annotations[key])
        model = _block_in(annotations[key])
    return list(_annotations(model))


def _is_by_name(annotation: Any) -> bool:
    """Tell whether a key holds blocks by names that the user gives them."""
    return get_origin(annotation) is dict or any(map(_is_by_name, get_args(annotation)))


def _annotations(model: Any) -> dict[str, Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {item.alias or name: item.annotation for name, item in model.model_fields.items()}
    if dataclasses.is_dataclass(model) and isinstance(model, type):
        hints = get_type_hints(model)
        return {item.name: hints[item.name] for item in dataclasses.fields(model)}
    return {}


def _block_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and (
        issubclass(annotation, Keys) or dataclasses.is_dataclass(annotation)
    ):
        return annotation
    for item in get_args(annotation):
        found = _block_in(item)
        if found is not None:
            return found
    return None


def show_keys(place: Path_) -> str:
    """Return a path of keys and indices as people write it: methods[0].steps."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".") or "config"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
