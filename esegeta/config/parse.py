"""From a YAML file to a checked config, every error with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from esegeta.config.bundle import with_bundle_keys
from esegeta.config.config_errors import config_error, show_keys
from esegeta.config.entries import METHOD_ENTRIES, SCORE_ENTRIES, build_all
from esegeta.config.lines import MOST_LEVELS, Document, Path_, parse_value, read_yaml
from esegeta.config.nnunet import with_nnunet_keys
from esegeta.config.paths import find_beside
from esegeta.config.schema import Config
from esegeta.config.values import refuse_unfit_values
from esegeta.errors import ConfigError, EsegetaError, MissingFileError, told_by_system
from esegeta.explain import Explainer
from esegeta.score import Score


@dataclass(frozen=True)
class RunConfig:
    """A checked config: its keys, and its methods and scores as built objects.

    Args:
        keys: validated keys.
        methods: explainers by id, in the config's order.
        scores: scores by name, in the config's order.
        document: document that it came from, for places in messages.
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
        """Return a path of the config: below the config's folder, else the working directory.

        Raises:
            DataError: it can be no path, or it could be two files.
        """
        return find_beside(path, self.folder)


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
    except OSError as error:
        told = told_by_system(error)
        if told is None:
            raise
        told.message = f"{config.document.place(place)}: {told.message}"
        raise told from error


Block = TypeVar("Block")


def required_block(config: RunConfig, name: str, block: Block | None, *, hint: str) -> Block:
    """Return a block of a config that a command cannot do without.

    Args:
        config: the checked config.
        name: what the block is called.
        block: its keys, or None where the config has none.
        hint: how to write one.

    Raises:
        ConfigError: the config has none.
    """
    if block is None:
        raise ConfigError(f"{config.document.path}: has no block `{name}`", hint=hint)
    return block


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a config file.

    Args:
        path: the YAML file.
        overrides: `a.b=c` from the command line; `methods.0.steps=8` reaches into lists.

    Raises:
        ConfigError: something is wrong; gives file, line, what was found and the nearest name.
    """
    document = read_yaml(path)
    for override in overrides:
        document = overridden(document, override)
    return check_document(document)


def config_of(keys: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Check a config whose keys are given, without a file; see `load_config`.

    Args:
        keys: keys as in a YAML file; tuples and paths may stand for lists and text.
        overrides: see `load_config`.
    """
    document = Document(Path("config"), _as_yaml(keys), {})
    for override in overrides:
        document = overridden(document, override)
    return check_document(document)


def _as_yaml(value: Any) -> Any:
    """Return values of Python as YAML would give them; the input is not changed."""
    if isinstance(value, Mapping):
        return {key: _as_yaml(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_yaml(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def check_document(document: Document) -> RunConfig:
    """Check a config that has been read, or made up; see `load_config`."""
    refuse_unfit_values(document)
    document = with_nnunet_keys(with_bundle_keys(document))
    try:
        keys = Config.model_validate(document.content)
    except ValidationError as error:
        raise ConfigError(config_error(error, document, Config)) from error
    _refuse_half_a_run(keys, document)
    methods = build_all(METHOD_ENTRIES, keys.methods, keys.seed, document)
    scores = build_all(SCORE_ENTRIES, keys.scores, keys.seed, document)
    return RunConfig(keys, methods, scores, document)


def _refuse_half_a_run(keys: Config, document: Document) -> None:
    """Refuse half a run beside a dissection or its like, which may stand alone but not so."""
    half = keys.missing_of_run == ["methods"] and (keys.examples or keys.concepts)  # their targets
    if keys.stands_alone and len(keys.missing_of_run) == 1 and not half:
        raise ConfigError(f"{document.place(())}: {keys.missing_of_run[0]}: missing")


def overridden(document: Document, override: str) -> Document:
    """Set a key in the document's content, and return the document that records its origin."""
    key, equals, text = override.partition("=")
    option = f"--set {override}"
    if not equals or not key:
        raise ConfigError(f'--set: "{override}" is not key=value', hint="such as --set seed=1")
    parts: list[str | int] = [
        int(part) if re.fullmatch("[0-9]{1,9}", part) else part
        for part in re.sub(r"\[([0-9]+)\]", r".\1", key).split(".")
    ]
    if len(parts) > MOST_LEVELS:
        raise ConfigError(f"--set: the key has too many parts ({len(parts)})")
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
            raise ConfigError(f'--set: "{key}": there is no key "{part}"')
        path = (*path, part if isinstance(place, list) else str(part))
        if following is None:
            place[part] = parse_value(text, path, option)
        elif isinstance(place, list) and isinstance(place[part], str):
            place[part] = {"name": place[part]}
        if following is not None:
            place = place[part]
    return document.given_by(option, blamed or path).given_by(option, path)
