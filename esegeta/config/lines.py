"""YAML with line numbers, and with numbers as YAML 1.2 writes them (`1e-3` is a number).

Digits behind a leading zero (`001`) are text: they number patients, and would lose their zeros.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml

from esegeta.errors import ConfigError

Path_ = tuple[str | int, ...]

NULL = "tag:yaml.org,2002:null"
MEANT_BY_NULL: dict[Path_, str] = {
    ("dissection",): "the null distribution of the tests is `chance`"
}
"""Places where people may write `null` as a key, and the key that is meant."""


MOST_BYTES = 8 << 20
"""A config that is longer is none; what never ends, such as /dev/zero, is not read to its end."""
MOST_LEVELS = 64
"""Brackets within brackets; what is built from them is walked through by recursion."""
MOST_REPEATED = 100_000
"""Values that aliases may add to those that are written; nine lines of ten aliases make 10^9."""
MOST_DIGITS = 400
"""Digits of a number; the largest that any key takes has 20."""
TAGS = ("null", "bool", "int", "float", "str", "seq", "map")
"""What a value may be: what JSON knows too."""
NODES = {"seq": yaml.SequenceNode, "map": yaml.MappingNode}
"""What tags of blocks stand before; all others stand before scalars."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema: no sexagesimals, no yes/no.

    It builds what JSON could hold too, and nothing that is far larger than what was written.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = 0
        self._deepest = 0
        self._size = 0
        self._repeated = 0
        self._sizes: dict[str, int] = {}
        self._depths: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a value, or the one that an alias stands for, which counts once more."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._count_alias(event)
            return super().compose_node(parent, index)
        self._require_shallow(self._level, event)
        before, self._level = self._size, self._level + 1
        outside, self._deepest = self._deepest, self._level
        node = cast(yaml.Node, super().compose_node(parent, index))  # or it raises
        self._level -= 1
        depth = self._deepest - self._level
        self._deepest = max(outside, self._deepest)
        length = len(event.value) if isinstance(event, yaml.ScalarEvent) else 0
        self._size += 1 + length // 100
        if getattr(event, "anchor", None):
            self._sizes[event.anchor] = self._size - before
            self._depths[event.anchor] = depth
        _require_plain(node, event)
        return node

    def _count_alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            return  # which the composer says itself
        if event.anchor not in self._sizes:
            raise _refusal(f"alias *{event.anchor} refers to a block that contains it", event)
        self._size += self._sizes[event.anchor]
        self._repeated += self._sizes[event.anchor]
        if self._repeated > MOST_REPEATED:
            raise _refusal(f"aliases repeat more than {MOST_REPEATED} values", event)
        self._deepest = max(self._deepest, self._level + self._depths[event.anchor])
        self._require_shallow(self._deepest - 1, event)

    def _require_shallow(self, level: int, event: Any) -> None:
        if level > MOST_LEVELS:
            raise _refusal(f"brackets or blocks are nested more than {MOST_LEVELS} deep", event)


def _refusal(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


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
YAML_RESOLVERS = _Loader.yaml_implicit_resolvers
"""What unquoted scalars are, by their first character."""


def _require_plain(node: yaml.Node, event: Any) -> None:
    """Refuse what is tagged as something that it is not, or as more than plain data."""
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in TAGS:
        shown = node.tag if kind == node.tag else f"!!{kind}"
        raise _refusal(f"the tag {shown} is not known; leave it out", event)
    if not isinstance(node, NODES.get(kind, yaml.ScalarNode)):
        raise _refusal(f"the value does not match its tag !!{kind}", event)
    if not isinstance(node, yaml.ScalarNode) or kind == "str":
        return
    forms = [form for first in YAML_RESOLVERS.values() for tag, form in first if tag == node.tag]
    if not forms[0].match(node.value):
        raise _refusal(f'"{node.value[:60]}" does not match its tag !!{kind}', event)
    if kind in ("int", "float") and len(node.value) > MOST_DIGITS:
        raise _refusal(f"a number with {len(node.value)} digits is too large for any key", event)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    base = 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10
    return int(text[2:] if base != 10 else text, base)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


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
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ConfigError(
                f"{path}: a config may have at most {MOST_BYTES >> 20} MiB",
                hint="name cases by a glob, a folder or a datalist",
            )
        text = data.decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file") from error
    except (OSError, ValueError) as error:  # of a path with NUL too
        raise ConfigError(f"{path}: cannot be read as text ({error})") from error
    return parse_yaml(text.replace("\r\n", "\n").replace("\r", "\n"), path)


@contextmanager
def _loading(text: str) -> Iterator[_Loader]:
    """Give a loader of some text; numbers that PyYAML itself cannot take are faults of the text.

    Those are the code of a character above U+10FFFF and the version in `%YAML`, of any length.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    loader = _Loader(text)
    try:
        yield loader
    except (ValueError, OverflowError) as error:
        told = "the number of a character or a version is too large"
        raise yaml.MarkedYAMLError(problem=told, problem_mark=loader.get_mark()) from error
    finally:
        loader.dispose()


def parse_yaml(text: str, path: Path) -> Document:
    """Parse YAML text; see `read_yaml`."""
    lines: dict[Path_, int] = {}
    try:
        with _loading(text) as loader:
            node = loader.get_single_node()
            if node is not None:
                _note_lines(node, (), lines, lambda node: f"{path}:{node.start_mark.line + 1}")
            content = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error  # letters that it does not allow
    if content is None:
        raise ConfigError(f"{path}: the file is empty", hint="write keys, such as `name: value`")
    if not isinstance(content, dict):
        found = "a list" if isinstance(content, list) else f"the value {str(content)[:60]!r}"
        raise ConfigError(
            f"{path}:{lines.get((), 1)}: should be keys with values, as in `name: value` "
            f"(found {found})"
        )
    return Document(path, _without_sharing(content), lines)


def _without_sharing(value: Any) -> Any:
    """Return values of which none is at two places: what an option changes is at one place."""
    if isinstance(value, dict):
        return {key: _without_sharing(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_sharing(item) for item in value]
    return value


def parse_value(text: str, keys: Path_, option: str) -> Any:
    """Parse as YAML the value that an option of the command line gives to a path of keys."""
    try:
        with _loading(text) as loader:
            node = loader.get_single_node()
            if node is None:
                return None
            _note_lines(node, keys, {}, lambda node: option)
            return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f'{option}: "{text}" is not a YAML value ({error.problem})') from error
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
