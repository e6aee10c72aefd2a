"""Snippets of README and docs are configs that load and code that runs."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel

from esegeta.config import Config, load_config
from tests.experiments import esegeta
from tests.torso import lay_out

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(language: str) -> list[pytest.param]:
    found = []
    for page in PAGES:
        blocks = re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)
        found += [pytest.param(block, id=f"{page.stem}-{i}") for i, block in enumerate(blocks)]
    return found


@pytest.mark.parametrize("text", snippets("yaml"))
def test_yaml_snippets_are_valid_configs(text: str, tmp_path: Path) -> None:
    path = tmp_path / "snippet.yaml"
    path.write_text(text)
    config = load_config(path)
    assert config.methods or config.keys.stands_alone or "expected:" in text


def keys_of(annotation: object) -> dict[str, object]:
    """Return the keys of the blocks that a value may be, and what their values may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return {field.alias or name: field.annotation for name, field in fields}
    return {key: own for one in get_args(annotation) for key, own in keys_of(one).items()}


def named_keys() -> list[pytest.param]:
    blocks = [key for key, own in keys_of(Config).items() if keys_of(own)]
    pattern = rf"`((?:{'|'.join(blocks)})(?:\.[a-z_]+)+)(?:: [^`]*)?`"
    found = {(page.stem, key) for page in PAGES for key in re.findall(pattern, page.read_text())}
    found = {(page, key) for page, key in found if not key.endswith((".csv", ".json", ".png"))}
    return [pytest.param(key, id=f"{page}-{key}") for page, key in sorted(found)]


@pytest.mark.parametrize("key", named_keys())
def test_keys_in_the_docs_exist(key: str) -> None:
    found: object = Config
    for part in key.split("."):
        assert part in keys_of(found), f"{key}: {part} is not among {sorted(keys_of(found))}"
        found = keys_of(found)[part]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_load(path: Path) -> None:
    assert load_config(path).keys.name == path.stem


@pytest.mark.slow
@pytest.mark.parametrize("code", snippets("python"))
def test_python_snippets_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path)
    laid = set(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    module = ModuleType("snippet")  # classes look for the module that they stand in
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "snippet", "exec"), vars(module))
    assert set(tmp_path.iterdir()) > laid  # it left something


ONE_LINES = [
    line
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("esegeta explain ")
]


@pytest.mark.parametrize("line", ONE_LINES)
def test_one_line_commands_give_valid_configs(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dynamic_network_architectures")
    monkeypatch.chdir(ROOT)
    _, _, *arguments = shlex.split(line.partition(" #")[0])
    path = tmp_path / "it.yaml"
    if "-o" in arguments:
        del arguments[arguments.index("-o") : arguments.index("-o") + 2]
    done = esegeta("init", "--from", *arguments, "-o", path)
    assert done.exit_code == 0, done.output
    assert load_config(path).keys.targets[0].label == "liver"
