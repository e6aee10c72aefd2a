"""Configs written as YAML that reads back the same, block by block, with comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from esegeta.config.lines import YAML_RESOLVERS

WIDTH = 96
"""Most columns of a block that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what this package's reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a list in full wherever it occurs, never as an alias."""
        return True


_Dumper.yaml_implicit_resolvers = YAML_RESOLVERS


def write_commented(
    content: Mapping[str, Any], comments: Mapping[str, Sequence[str]], head: Sequence[str]
) -> str:
    """Return keys as YAML text.

    Args:
        content: plain values by key.
        comments: lines above a key, without their `#`.
        head: lines at the top.
    """
    lines = [_comment(line) for line in head]
    for key, value in content.items():
        lines += [_comment(line) for line in comments.get(key, ())]
        lines += lines_of(key, value)
    lines += [_comment(line) for line in comments.get("", ())]
    return "\n".join(lines) + "\n"


def in_flow(value: Any) -> str:
    """Return a value on one line."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        width=10**6,
        allow_unicode=True,
    )
    return text.removesuffix("\n").removesuffix("\n...")


def lines_of(key: Any, value: Any, indent: str = "") -> list[str]:
    """Return a key with its value: on one line where that is not too long."""
    whole = f"{indent}{in_flow(key)}: {in_flow(value)}"
    if len(whole) <= WIDTH and not (isinstance(value, dict) and not indent and len(value) > 2):
        return [whole]
    if isinstance(value, dict) and value:
        inner = [line for k, v in value.items() for line in lines_of(k, v, f"{indent}  ")]
        return [f"{indent}{in_flow(key)}:", *inner]
    if isinstance(value, list) and value:
        return [f"{indent}{in_flow(key)}:", *(f"{indent}  - {in_flow(item)}" for item in value)]
    return [whole]


def _comment(line: str) -> str:
    return f"# {line}".rstrip()
