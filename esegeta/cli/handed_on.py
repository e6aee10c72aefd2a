"""A command line that `plan` and `submit` hand on: whatever the command takes, they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esegeta.cli.many import known_command, origin_of
from esegeta.errors import ConfigError

if TYPE_CHECKING:
    from esegeta.workflow.spread.origin import Origin

WRAPPER = {"ignore_unknown_options": True}
"""Settings of a command that takes words which it does not know."""
SAID_OTHERWISE = ("output", "overrides", "device")
"""What the origin of a command says of it."""
OF_PROCESSES = ("part", "workers", "cluster")
"""What says which processes do a command; `plan` and `submit` say it themselves."""


@dataclass(frozen=True)
class HandedOn:
    """A command line as the command itself would take it.

    Args:
        origin: what it is about.
        words: what it says besides, as it stands on a command line: `--fail-fast`, say.
    """

    origin: Origin
    words: tuple[str, ...] = ()


def handed_on(command: str, words: Sequence[str], **known: Any) -> HandedOn:
    """Let a command read the words of a command line that is for it.

    Args:
        command: its name.
        words: its arguments and options, as far as `plan` and `submit` do not know them.
        known: those that they know: output, overrides and device.

    Raises:
        ConfigError: there is no such command, or the words say which processes are to do it.
    """
    import typer.main

    from esegeta.cli.app import app  # which holds `plan` and `submit` too

    group: Any = typer.main.get_command(app)
    reader = group.commands[known_command(command)]
    given = reader.make_context(f"esegeta {command}", list(words)).params
    for parameter in reader.params:
        if parameter.name in OF_PROCESSES and given[parameter.name] is not None:
            raise ConfigError(
                f"{parameter.opts[-1]}: cannot be combined with `plan` or `submit`",
                hint="`submit` takes --cluster, and `plan --sbatch` takes --parts",
            )
    config, names = subject_of(given)
    origin = origin_of(command, config, known["overrides"], known["output"], known["device"], names)
    return HandedOn(origin, tuple(_words(reader.params, given)))


def subject_of(given: Mapping[str, Any]) -> tuple[Path, tuple[str, ...]]:
    """Return the config that a command is about, and the names that decide what it does of it.

    Args:
        given: its arguments and options, by their names.
    """
    from esegeta.cli.show_features import FIT, config_of_words

    if "words" in given:
        config, fit_only = config_of_words(given["words"])
        return config, (FIT,) if fit_only else ()
    if "configs" in given:
        first, *more = given["configs"]
        return first, tuple(str(path.absolute()) for path in more)
    if given.get("probabilities"):
        return given["config"], ("probabilities",)
    texts = given.get("layers") or []
    return given["config"], tuple(name.strip() for text in texts for name in text.split(","))


def _words(parameters: Sequence[Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a command line says beside config, output, overrides and device."""
    for parameter in parameters:
        value = given[parameter.name]
        if parameter.param_type_name == "argument" or parameter.name in SAID_OTHERWISE:
            continue
        if value is True:
            yield parameter.opts[-1]
        elif value:
            for one in value if parameter.multiple else [value]:
                yield from (parameter.opts[-1], str(one))
