"""The entries of `methods` and `scores`: from a name or a class, and parameters, to objects."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from pydantic import ValidationError

from esegeta.config.config_errors import config_error, show_keys
from esegeta.config.keys import fault_of_part
from esegeta.config.lines import Document, Path_
from esegeta.config.numbers import checked_as
from esegeta.errors import ConfigError, EsegetaError, suggest
from esegeta.explain import METHOD, METHODS, key_of
from esegeta.own_classes import Family
from esegeta.score import ALL_SCORES, SCORE

MOST_OF_ANYTHING = 10**9
"""Steps, samples, voxels of a side: more would take years, or the memory of their list."""

CLASS = "class"
"""The key that names a class; of an entry with a name, a parameter like others."""


@dataclass(frozen=True)
class Entries:
    """What a block of the config lists.

    Args:
        block: key of the block.
        table: classes by the names that entries use for them.
        family: family of classes that are given by their path instead.
        usual: a typical entry of the block, for hints.
    """

    block: str
    table: Mapping[str, type[Any]]
    family: Family
    usual: str


METHOD_ENTRIES = Entries("methods", METHODS, METHOD, "saliency")
SCORE_ENTRIES = Entries("scores", ALL_SCORES, SCORE, "infidelity")


def build_all(
    entries: Entries, given: Sequence[Any], seed: int, document: Document
) -> dict[str, Any]:
    """Build the methods or scores of a config, by id.

    Raises:
        ConfigError: an entry has no name, an unknown name, a duplicate one, or parameters that
            its class does not take.
    """
    built: dict[str, Any] = {}
    for index, entry in enumerate(given):
        place: Path_ = (entries.block, index)
        values = _as_block(entry, entries, document, place)
        work = build_entry(
            {key: value for key, value in values.items() if key != "id"},
            entries,
            seed,
            document,
            place,
        )
        named = values.get("name", work.name)
        identity = str(named if values.get("id") is None else values["id"])
        if isinstance(values.get("id"), (list, dict)):
            within = (*place, "id")
            raise ConfigError(
                f"{document.place(within)}: {show_keys(within)}: should be text (found "
                f"{identity[:60]})"
            )
        fault = _fault_of_id(identity, entries)
        if fault:
            raise ConfigError(f"{document.place(place)}: {show_keys(place)}: id: {fault}")
        if identity in built:
            raise ConfigError(
                f"{document.place(place)}: {show_keys(place)}: two entries have the id "
                f'"{identity}"',
                hint="give one of them an `id`",
            )
        built[identity] = work
    return built


def _fault_of_id(identity: str, entries: Entries) -> str:
    """Say why a text cannot be an id, which goes into file names; empty where it can."""
    fault = fault_of_part(identity, entries.family.word)
    if not fault and re.search(r"\s", identity):
        return f'"{identity}" cannot be part of a file name; leave out the spaces'
    return fault


def _as_block(entry: Any, entries: Entries, document: Document, place: Path_) -> Mapping[str, Any]:
    """Return an entry as its keys, among them a name or a class."""
    values = {"name": entry} if isinstance(entry, str) else entry
    if isinstance(values, dict) and any(
        isinstance(values.get(key), str) for key in ("name", CLASS)
    ):
        return values
    raise ConfigError(
        f"{document.place(place)}: {show_keys(place)}: needs a name",
        hint=f"write `- {entries.usual}` or `- {{name: {entries.usual}, ...}}`; your own: "
        '`- {class: "package.module:Class"}`',
    )


def build_entry(
    values: Mapping[str, Any], entries: Entries, seed: int, document: Document, place: Path_
) -> Any:
    """Build one method or score from its name or class and parameters; one nested in it likewise.

    Raises:
        ConfigError: see `build_all`.
    """
    kind = _class_of(values, entries, document, place)
    fields = {key_of(item): item for item in dataclasses.fields(kind)}
    parameters = _parameters(values, kind, fields, document, place)
    if "seed" in fields:
        parameters.setdefault("seed", seed)
    if "base" in fields and "base" not in parameters:
        parameters["base"] = _default_base(fields["base"], seed)
    elif "base" in fields:
        base, within = parameters["base"], (*place, "base")
        nested = {"name": base} if isinstance(base, str) else base
        if not isinstance(nested, dict) or not ({"name", CLASS} & set(nested)):
            raise ConfigError(
                f"{document.place(within)}: {show_keys(within)}: needs the name of a "
                f"{entries.family.word}"
            )
        parameters["base"] = build_entry(nested, entries, seed, document, within)
    for key, value in parameters.items():
        if key != "seed" and type(value) is int and value > MOST_OF_ANYTHING:
            within = (*place, key)
            raise ConfigError(
                f"{document.place(within)}: {show_keys(within)}: must be at most "
                f"{MOST_OF_ANYTHING} (found {value})"
            )
    try:
        return checked_as(kind, {fields[key].name: value for key, value in parameters.items()})
    except ValidationError as error:
        text = config_error(error, document, kind, place)
        for key, item in fields.items():
            text = text.replace(f"{show_keys(place)}.{item.name}", f"{show_keys(place)}.{key}")
        raise ConfigError(text) from error
    except EsegetaError as error:
        raise ConfigError(
            f"{document.place(place)}: {show_keys(place)}: {error.message}", hint=error.hint
        ) from error


def _class_of(
    values: Mapping[str, Any], entries: Entries, document: Document, place: Path_
) -> type[Any]:
    where, name = f"{document.place(place)}: {show_keys(place)}", values.get("name")
    word = entries.family.word
    if name is not None and (not isinstance(name, str) or name not in entries.table):
        own = '; for your own, write {class: "package.module:Class"}' if ":" in str(name) else ""
        raise ConfigError(
            f'{where}: unknown {word} "{name}"',
            hint=f"{suggest(str(name), entries.table)}{own}",
        )
    try:
        if name is not None:
            return entries.table[name]
        return entries.family.at(str(values[CLASS]), document.path.parent.resolve())
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error


def _parameters(
    values: Mapping[str, Any],
    kind: type[Any],
    fields: Mapping[str, dataclasses.Field[Any]],
    document: Document,
    place: Path_,
) -> dict[str, Any]:
    """Return the parameters by key; a null stands for the default where it is not a value."""
    hints = get_type_hints(kind)
    names = ("name",) if "name" in values else (CLASS,)
    parameters = {
        key: value
        for key, value in values.items()
        if key not in names
        and (
            value is not None
            or key not in fields
            or type(None) in get_args(hints[fields[key].name])
        )
    }
    for key in parameters:
        if key not in fields:
            within = (*place, key)
            raise ConfigError(
                f"{document.place(within)}: {show_keys(within)}: unknown key of "
                f"{values.get('name', kind.name)}",
                hint=suggest(key, fields),
            )
    return parameters


def _default_base(item: dataclasses.Field[Any], seed: int) -> Any:
    """Return the method or score that another one builds on by default, with the config's seed."""
    assert item.default_factory is not dataclasses.MISSING
    base = item.default_factory()
    seeded = "seed" in {part.name for part in dataclasses.fields(base)}
    return dataclasses.replace(base, seed=seed) if seeded else base
