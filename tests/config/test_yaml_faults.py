"""YAML that PyYAML itself fails on is refused like any other, with its line."""

from pathlib import Path

import pytest

from esegeta.config.lines import MOST_LEVELS, parse_value, parse_yaml
from esegeta.errors import ConfigError

NINES = "9" * 5000
FAULTS = {
    "no such character": ('"\\U00110000"', "too large"),
    "a character beyond C": ('"\\UFFFFFFFF"', "too large"),
    "a list tagged a number": ("!!int [1]", "!!int"),
    "a mapping tagged text": ("!!str {a: 1}", "!!str"),
    "text tagged a list": ("!!seq a", "!!seq"),
    "nothing tagged a mapping": ("!!map", "!!map"),
    "an alias of nothing": ("[*gone]", "undefined alias"),
    "a text width of no end": (f"|{NINES}", ""),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_has_its_line(what: str) -> None:
    text, words = FAULTS[what]
    with pytest.raises(ConfigError, match=f"^x.yaml:[23]: not YAML: .*{words}"):
        parse_yaml(f"a: 1\nb: {text}\n", Path("x.yaml"))


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_of_an_option_names_it(what: str) -> None:
    text, _ = FAULTS[what]
    with pytest.raises(ConfigError, match=r"^--set b=: "):
        parse_value(text, ("b",), "--set b=")


def test_a_yaml_version_of_endless_digits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x\.yaml:1: not YAML: "):
        parse_yaml(f"%YAML 1.{NINES}\n---\na: 1\n", Path("x.yaml"))


@pytest.mark.parametrize(("levels", "fits"), [(MOST_LEVELS - 2, True), (MOST_LEVELS, False)])
def test_nesting_levels_are_counted_through_aliases(levels: int, fits: bool) -> None:
    """Each alias stands within one bracket of its own, and for all that it stands for."""
    chain = "".join(f", &a{n} [*a{n - 1}]" for n in range(1, levels))
    text = f"a: [&a0 [1]{chain}]\n"
    if fits:
        value = parse_yaml(text, Path("x.yaml")).content["a"][-1]
        for _ in range(levels):
            [value] = value
        assert value == 1
    else:
        with pytest.raises(ConfigError, match="are nested more than"):
            parse_yaml(text, Path("x.yaml"))
