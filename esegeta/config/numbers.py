"""Numbers are numbers: in no block does `true` stand for one, nor text for a whole one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import PydanticKnownError, SchemaValidator, core_schema


def _whole(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        raise PydanticKnownError("int_type")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {"int": _whole, "float": _number}
MADE = [{"type": "no-info", "function": check} for check in CHECKS.values()]
UNTOUCHED = ("keys_schema", "serialization", "metadata", "default")
"""Parts of what pydantic checks by that check no value; keys from options are always text."""


def plain_numbers(schema: Any) -> Any:
    """Return what pydantic checks values by, with every number checked to be one before."""
    if isinstance(schema, list):
        return [plain_numbers(item) for item in schema]
    if isinstance(schema, tuple):  # a choice with its label
        return tuple(plain_numbers(item) for item in schema)
    if not isinstance(schema, dict) or schema.get("function") in MADE:
        return schema
    check = CHECKS.get(_kind_of(schema))
    if check is not None:
        return core_schema.no_info_before_validator_function(check, schema)
    return {key: one if key in UNTOUCHED else plain_numbers(one) for key, one in schema.items()}


def _kind_of(schema: dict[str, Any]) -> str:
    """Return what a value must be; a choice among whole numbers is one too."""
    if schema.get("type") == "literal":
        return "int" if {type(one) for one in schema["expected"]} == {int} else ""
    return "" if schema.get("strict") else str(schema.get("type"))


def checked_as(kind: type[Any], values: dict[str, Any]) -> Any:
    """Return a dataclass, such as a method, of values that are checked by its annotations.

    Raises:
        pydantic.ValidationError: says which do not fit.
    """
    return SchemaValidator(plain_numbers(TypeAdapter(kind).core_schema)).validate_python(values)
