"""YAML with line numbers, and with numbers as YAML 1.2 writes them (`1e-3` is a number).

Digits behind a leading zero (`001`) are text: they number patients, and would lose their zeros.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from esegeta.errors import ConfigError

Path_ = tuple[str | int, ...]

NULL = "tag:yaml.org,2002:null"
MEANT_BY_NULL: dict[Path_, str] = {
    ("dissection",): "the null distribution of the tests is `chance`"
}
"""Places where people may write `null` as a key, and the key that is meant."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema: no sexagesimals, no yes/no."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    (NULL, r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    (
        "tag:yaml.org,2002:int",
        r"^(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)$",
        list("-+0123456789"),
    ),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), _first)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    base = 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10
    return int(text[2:] if base != 10 else text, base)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


YAML_RESOLVERS = _Loader.yaml_implicit_resolvers
"""What unquoted scalars are, by their first character."""


class Document:
    """A YAML file as plain values, with the line on which each value stands.

    Args:
        path: path of the file, or a name for the text in messages.
        content: dictionaries, lists and scalars.
        lines: line of each value, counted from 1, by its path of keys and indices.
        options: options of the command line, by the path of the value that they give.
    """

    def __init__(
        self,
        path: Path,
        content: Any,
        lines: Mapping[Path_, int],
        options: Mapping[Path_, str] | None = None,
    ) -> None:
        self.path = path
        self.content = content
        self.lines = lines
        self.options = options or {}

    def nearest(self, keys: Path_) -> Path_:
        """Return the path of a value, or of its nearest ancestor, that has a known place."""
        while keys and keys not in self.lines and keys not in self.options:
            keys = keys[:-1]
        return keys

    def place(self, keys: Path_) -> str:
        """Return `file:line`, or the option, of a value or of its nearest ancestor that has one.

        Options that change something within a block of the file stand beside its line.
        """
        keys = self.nearest(keys)
        if keys in self.options:
            return self.options[keys]
        line = self.lines.get(keys)
        place = f"{self.path}:{line}" if line else str(self.path)
        within = [text for at, text in self.options.items() if keys and at[: len(keys)] == keys]
        return ", with ".join([place, *dict.fromkeys(within)])

    def given_by(self, option: str, keys: Path_) -> Document:
        """Return the document with a value, and all below it, attributed to an option."""
        lines = {at: line for at, line in self.lines.items() if at[: len(keys)] != keys}
        options = {at: text for at, text in self.options.items() if at[: len(keys)] != keys}
        return Document(self.path, self.content, lines, {**options, keys: option})


def read_yaml(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: it is missing, not YAML, repeats a key, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error})") from error
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Document:
    """Parse YAML text; see `read_yaml`."""
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:  # characters that YAML does not allow
        raise ConfigError(f"{path}: not YAML: {error}") from error
    try:
        node = loader.get_single_node()
        lines: dict[Path_, int] = {}
        if node is not None:
            _note_lines(node, (), lines, lambda node: f"{path}:{node.start_mark.line + 1}")
        content = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    finally:
        loader.dispose()
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys, not {type(content).__name__}")
    return Document(path, content, lines)


def parse_value(text: str, keys: Path_, option: str) -> Any:
    """Parse as YAML the value that an option of the command line gives to a path of keys."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _note_lines(node, keys, {}, lambda node: option)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f'{option}: "{text}" is not a YAML value') from error


def _note_lines(
    node: yaml.Node, keys: Path_, lines: dict[Path_, int], place: Callable[[yaml.Node], str]
) -> None:
    lines.setdefault(keys, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*keys, index), lines, place)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused when the mapping is built
            if not key.value and key.style is None:
                raise ConfigError(f"{place(key)}: the key before the colon is missing")
            if key.tag == NULL:
                raise ConfigError(
                    f"{place(key)}: an unquoted {key.value} is not a key",
                    hint=MEANT_BY_NULL.get(keys, 'put it in quotes, such as "null"'),
                )
            here = (*keys, key.value)
            if here in lines:
                raise ConfigError(f'{place(key)}: key "{key.value}" is given twice')
            lines[here] = key.start_mark.line + 1
            _note_lines(value, here, lines, place)
