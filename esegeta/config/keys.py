"""What all blocks of keys share: names that go into file names, and how a block behaves."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    model_validator,
)
from pydantic_core import core_schema

from esegeta.config.numbers import plain_numbers

NAME_PATTERN = re.compile(r"^[^\s/\\:*?\"<>|.][^/\\:*?\"<>|]*$")

FILE_NAME_KEYS = ("_label-", "_chan-", "_desc-", "_stat-", "_layer-", "_member-", "_score-")
"""What separates the parts of a file name; a part that held one of them would be ambiguous."""


LONGEST_NAME = 200
"""Bytes of a name; file systems take 255, of a name with all its parts."""

HIDDEN = ("Cc", "Cs", "Zl", "Zp", "Cf")
"""Characters that break lines, tables and terminals, or that no file can hold: controls, halves of
characters, separators of lines; and those that turn or hide what is read: marks of direction,
letters without width."""
JOINERS = "\u200c\u200d"
"""Without width too, but part of words in Persian and Hindi, and of pictures: no names of files."""
WITHOUT_INK = re.compile(
    f"[{JOINERS}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f]"
)
"""Letters that nobody sees in a name, and that make two of one look."""


NO_LETTERS = (
    f'file names are encoded as "{sys.getfilesystemencoding()}" here, which lacks some of its '
    "letters; set PYTHONUTF8=1"
)


def can_be_written(text: str) -> bool:
    """Tell whether the encoding of file names here has all letters of a text."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def hidden_characters(text: str) -> str:
    """Return in words the first control character or lone surrogate of a text, or nothing."""
    if text.isascii() and text.isprintable():
        return ""
    for letter in text:
        kind = unicodedata.category(letter)
        if kind in HIDDEN and letter not in JOINERS:
            name = {"Cs": "half a character", "Cf": "an invisible character"}.get(kind, "a control")
            return f"{name}, U+{ord(letter):04X}, in {text[:60]!a}"
    return ""


def looks(name: str) -> str:
    """Return what a name is on systems that do not tell letters apart by case or by accents' codes.

    Two names of one look would be one file there.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def twins_in(names: Iterable[str]) -> str:
    """Return in words the first two of some names that look the same, or nothing."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(looks(name), name)
        if other != name:
            return (
                f'"{other}" and "{name}" differ only in case or accents, and would be one file on '
                "systems that do not distinguish these"
            )
    return ""


def _without_twins(value: Any) -> Any:
    if twins := twins_in(value):
        raise ValueError(twins)
    return value


NoTwins = AfterValidator(_without_twins)
"""Refuses names that go into files and of which two look alike."""


def fault_of_name(value: str) -> str:
    """Say why a text cannot be part of a file name; empty where it can."""
    if hidden := hidden_characters(value):
        return f"it cannot be part of a file name: {hidden}"
    if unseen := WITHOUT_INK.search(value):
        where = f"U+{ord(unseen.group()):04X}, in {value[:60]!a}"
        return f"it cannot be part of a file name: an invisible character, {where}"
    if not NAME_PATTERN.match(value):
        return f'"{value}" cannot be part of a file name; use letters, digits, - and .'
    if not can_be_written(value):
        return f"{value!a} cannot be part of a file name: {NO_LETTERS}"
    if len(value.encode()) > LONGEST_NAME:
        return f'"{value[:40]}..." is too long for a name; at most {LONGEST_NAME} bytes are allowed'
    return ""


def fault_of_part(value: str, what: str) -> str:
    """Say why a text cannot be the name of a target, method or channel; empty where it can."""
    if fault := fault_of_name(value):
        return fault
    for key in FILE_NAME_KEYS:
        if key in value:
            return (
                f'"{value}" cannot be the name of a {what}: `{key}` separates parts of file names'
            )
    if what == "target" and "#" in value:
        return f'"{value}" cannot be the name of a {what}: `#` numbers components'
    return ""


def _check_name(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    fault = fault_of_name(value) if isinstance(value, str) else ""
    if fault:
        raise ValueError(fault)
    return value


def _check_part(what: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        value = _check_name(value)
        fault = fault_of_part(value, what) if isinstance(value, str) else ""
        if fault:
            raise ValueError(fault)
        return value

    return BeforeValidator(check)


def give_list(example: str) -> BeforeValidator:
    """Return a validator that refuses a lone number where a list belongs."""

    def check(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"give a list with one length per axis, such as {example}")
        return value

    return BeforeValidator(check)


def _label_integer(value: Any) -> Any:
    if isinstance(value, bool) or not re.fullmatch(r"[-+]?[0-9]+", str(value)):
        raise ValueError("the integer comes first, then the name: 1: liver")
    return value


Name = Annotated[str, BeforeValidator(_check_name)]
TargetName = Annotated[str, _check_part("target")]
ChannelName = Annotated[str, _check_part("channel")]
LabelInteger = Annotated[int, BeforeValidator(_label_integer)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Keys(BaseModel):
    """A block of keys; immutable, and refuses keys that it does not know.

    A key without a value (`scores:`) counts as left out.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Return the block's checks, those of numbers among them; pydantic calls this."""
        checked: core_schema.CoreSchema = plain_numbers(handler(source))
        return checked

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, values: Any) -> Any:
        if values is None:
            values = {}
        if not isinstance(values, dict):
            return values
        known = {item.alias or name for name, item in cls.model_fields.items()}
        return {
            key: value for key, value in values.items() if value is not None or key not in known
        }
