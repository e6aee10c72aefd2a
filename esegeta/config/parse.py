"""From a YAML file to a checked config, every error with its file and line."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from esegeta.config.bundle import with_bundle_keys
from esegeta.config.config_errors import config_error, show_keys
from esegeta.config.keys import fault_of_part
from esegeta.config.lines import Document, Path_, parse_value, read_yaml
from esegeta.config.nnunet import with_nnunet_keys
from esegeta.config.schema import Config
from esegeta.errors import ConfigError, EsegetaError, MissingFileError, suggest
from esegeta.explain import EXPLAINERS, Explainer
from esegeta.score import SCORES, Score


@dataclass(frozen=True)
class RunConfig:
    """A checked config: its keys, and its methods and scores as built objects.

    Args:
        keys: the validated keys.
        methods: explainers by id, in the config's order.
        scores: scores by name, in the config's order.
        document: the YAML it came from, for places in messages.
    """

    keys: Config
    methods: Mapping[str, Explainer]
    scores: Mapping[str, Score]
    document: Document

    @property
    def folder(self) -> Path:
        """Where relative paths are looked for first."""
        return self.document.path.parent

    def resolved(self) -> dict[str, Any]:
        """Return every key with its value, defaults included, as plain values."""
        return self.keys.model_dump(mode="json", by_alias=True)

    def find_file(self, path: str) -> Path:
        """Return a path of the config: relative to the config's folder, else to where we are."""
        given = Path(path).expanduser()
        beside = Path(os.path.normpath(self.folder / given))
        return beside if beside.exists() or not given.exists() else given


@contextmanager
def blamed_on(config: RunConfig, *place: str | int) -> Iterator[None]:
    """Say where in the config an error comes from, and which key names a file that is missing."""
    try:
        yield
    except MissingFileError as error:
        error.message = f"{config.document.place(place)}: {error.message}"
        error.hint = f"check the path in `{show_keys(config.document.nearest(place))}`"
        raise
    except EsegetaError as error:
        error.message = f"{config.document.place(place)}: {error.message}"
        raise


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a config file.

    Args:
        path: the YAML file.
        overrides: `a.b=c` from the command line; `methods.0.steps=8` reaches into lists.

    Raises:
        ConfigError: with file, line, what was found and the nearest valid name.
    """
    document = read_yaml(path)
    for override in overrides:
        document = overridden(document, override)
    return check_document(document)


def check_document(document: Document) -> RunConfig:
    """Check a config that has been read, or made up; see `load_config`."""
    _refuse_infinite(document)
    document = with_nnunet_keys(with_bundle_keys(document))
    try:
        keys = Config.model_validate(document.content)
    except ValidationError as error:
        raise ConfigError(config_error(error, document, Config)) from error
    _refuse_half_a_run(keys, document)
    methods = _build_all("methods", keys.methods, EXPLAINERS, keys.seed, document)
    scores = _build_all("scores", keys.scores, SCORES, keys.seed, document)
    return RunConfig(keys, methods, scores, document)


def _refuse_infinite(document: Document) -> None:
    """Refuse NaN and infinity anywhere in the file: no key takes them, of any block.

    The blocks refuse them too; arguments that are passed on (of a network, a loss, an optimizer)
    have no block.
    """
    found = [
        f"{document.place(place)}: {show_keys(place)}: must be a finite number (found {number})"
        for place, number in _infinite(document.content, ())
    ]
    if found:
        raise ConfigError("\n".join(found))


def _infinite(value: Any, place: Path_) -> Iterator[tuple[Path_, float]]:
    """Yield each number of a document that is not finite, with its place."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _infinite(item, (*place, key))


def _refuse_half_a_run(keys: Config, document: Document) -> None:
    """Refuse half a run beside a block that may stand alone, such as a dissection."""
    if keys.dissection is not None and keys.concepts is None and len(keys.missing_of_run) == 1:
        raise ConfigError(f"{document.place(())}: {keys.missing_of_run[0]}: missing")


def _build_all(
    block: str,
    entries: Sequence[Any],
    table: Mapping[str, type[Any]],
    seed: int,
    document: Document,
) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for index, entry in enumerate(entries):
        place: Path_ = (block, index)
        values = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            raise ConfigError(
                f"{document.place(place)}: {block}[{index}]: needs a name",
                hint="write `- saliency` or `- {name: saliency, ...}`",
            )
        identity = str(values["name"] if values.get("id") is None else values["id"])
        reserved = fault_of_part(identity, "method") if block == "methods" else ""
        if reserved or not identity or re.search(r'[\s/\\:*?"<>|]', identity):
            raise ConfigError(
                f'{document.place(place)}: id "{identity}" cannot be part of a file name',
                hint=reserved,
            )
        if identity in built:
            raise ConfigError(
                f'{document.place(place)}: {block}[{index}]: two entries have the id "{identity}"',
                hint="give one of them an `id`",
            )
        parameters = {key: value for key, value in values.items() if key != "id"}
        built[identity] = build_entry(parameters, table, seed, document, place)
    return built


def build_entry(
    values: Mapping[str, Any],
    table: Mapping[str, type[Any]],
    seed: int,
    document: Document,
    place: Path_,
) -> Any:
    """Build one method or score from its name and parameters; one nested in it likewise."""
    where, shown = document.place(place), show_keys(place)
    kind = "score" if place[0] == "scores" else "method"
    name = values["name"]
    if name not in table:
        raise ConfigError(f'{where}: {shown}: unknown {kind} "{name}"', hint=suggest(name, table))
    kind_ = table[name]
    fields = {item.name: item for item in dataclasses.fields(kind_)}
    hints = get_type_hints(kind_)
    parameters = {
        key: value
        for key, value in values.items()
        if key != "name"
        and (value is not None or key not in fields or type(None) in get_args(hints[key]))
    }
    for key in parameters:
        if key not in fields:
            raise ConfigError(
                f"{document.place((*place, key))}: {shown}.{key}: unknown key of {name}",
                hint=suggest(key, fields),
            )
    if "seed" in fields:
        parameters.setdefault("seed", seed)
    if "base" in fields and "base" not in parameters:
        parameters["base"] = _default_base(fields["base"], seed)
    elif "base" in fields:
        base = parameters["base"]
        nested = {"name": base} if isinstance(base, str) else base
        if not isinstance(nested, dict) or not isinstance(nested.get("name"), str):
            within = document.place((*place, "base"))
            raise ConfigError(f"{within}: {shown}.base: needs the name of a {kind}")
        parameters["base"] = build_entry(nested, table, seed, document, (*place, "base"))
    try:
        return TypeAdapter(kind_).validate_python(parameters)
    except ValidationError as error:
        raise ConfigError(config_error(error, document, kind_, place)) from error
    except EsegetaError as error:
        raise ConfigError(f"{where}: {shown}: {error.message}", hint=error.hint) from error


def _default_base(item: dataclasses.Field[Any], seed: int) -> Any:
    """Return the method or score that another is built on by default, with the config's seed."""
    assert item.default_factory is not dataclasses.MISSING
    base = item.default_factory()
    seeded = "seed" in {part.name for part in dataclasses.fields(base)}
    return dataclasses.replace(base, seed=seed) if seeded else base


def overridden(document: Document, override: str) -> Document:
    """Give a value to a key, in the document's content, and return the document that says so."""
    key, equals, text = override.partition("=")
    option = f"--set {override}"
    if not equals or not key:
        raise ConfigError(f'--set: "{override}" is not key=value', hint="such as --set seed=1")
    parts: list[str | int] = [
        int(part) if part.isdigit() else part
        for part in re.sub(r"\[(\d+)\]", r".\1", key).split(".")
    ]
    place: Any = document.content
    path: Path_ = ()
    blamed: Path_ = ()
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(place, list) and isinstance(part, int) and part < len(place):
            pass
        elif isinstance(place, dict):
            known: Any = part if part in place or str(part) not in place else str(part)
            part = known
            if following is not None and not isinstance(place.get(part), (dict, list)):
                # `methods.0.steps` on a bare method name turns it into a mapping.
                place[part] = {}
                blamed = blamed or (*path, str(part))
        else:
            raise ConfigError(f'--set: "{key}" leads nowhere at "{part}"')
        path = (*path, part if isinstance(place, list) else str(part))
        if following is None:
            place[part] = parse_value(text, path, option)
        elif isinstance(place, list) and isinstance(place[part], str):
            place[part] = {"name": place[part]}
        if following is not None:
            place = place[part]
    return document.given_by(option, blamed or path).given_by(option, path)
