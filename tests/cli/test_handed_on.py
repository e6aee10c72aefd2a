"""`plan` and `submit` take what the command takes, and hand all of it on to who does it."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from esegeta.cli.app import app
from esegeta.cli.handed_on import OF_PROCESSES, handed_on
from esegeta.errors import ConfigError
from esegeta.workflow.spread.origin import BUILDERS, Origin
from tests.experiments import Lab, esegeta, pointwise_lab

GROUP: Any = typer.main.get_command(app)
WORDS = {"similarity": ["other.yaml"], "features": ["fit"]}
"""What stands beside the config."""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])


def every_option(command: str) -> list[str]:
    """Return a command line with each option that the command has, whichever these are."""
    words = []
    for option in GROUP.commands[command].params:
        if option.param_type_name == "option" and option.name not in OF_PROCESSES:
            name = option.opts[-1]
            value = "seed=4" if name == "--set" else "cpu" if name == "--device" else "some"
            words += [name] if option.is_flag else [name, value]
    return words


def last_call(script: str, command: str) -> list[str]:
    (line,) = [line for line in script.splitlines() if line.startswith(f"srun esegeta {command}")]
    return shlex.split(line)


@pytest.mark.parametrize("command", BUILDERS)
def test_every_option_of_a_command_is_passed_on_to_its_parts(
    lab: Lab, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only words are handed on here: nothing of what they say is there.
    monkeypatch.setattr(Origin, "build", lambda origin, listener: None)
    first, more = str(lab.write()), WORDS.get(command, [])
    subject = [*more, first] if command == "features" else [first, *more]
    asked = every_option(command)
    result = esegeta("plan", *subject, "--sbatch", "--command", command, *asked)
    assert result.exit_code == 0, result.output
    call = last_call(result.stdout, command)
    for word in asked:
        written = "-o" if word == "--output" else word
        assert any(part == written or part.endswith(f"/{written}") for part in call), (word, call)
    paths = [first if word == first else str(Path(word).absolute()) for word in subject]
    assert call[3 : 3 + len(subject)] == (["fit", first] if command == "features" else paths)
    assert ("--no-requeue" in result.stdout) == ("--overwrite" in asked)
    assert not (lab.folder / "out").exists()


def test_options_may_precede_the_config_and_names_are_part_of_the_origin(lab: Lab) -> None:
    known: dict[str, Any] = {"output": None, "overrides": None, "device": None}
    words = ["--layers", "a, b", str(lab.write()), "--fail-fast", "--layers", "c"]
    asked = handed_on("dissect", words, **known)
    assert asked.origin.names == ("a", "b", "c")
    assert asked.words == ("--layers", "a, b", "--layers", "c", "--fail-fast")
    written = handed_on("predict", [str(lab.config), "--probabilities"], **known)
    assert written.origin.names == ("probabilities",)
    with pytest.raises(ConfigError, match="--workers: cannot be combined with"):
        handed_on("run", [str(lab.config), "--workers", "2"], **known)


def test_an_option_unknown_to_the_command_is_refused(lab: Lab) -> None:
    result = esegeta("plan", lab.write(), "--sbatch", "--layers", "a")
    assert result.exit_code == 2
    assert "No such option: --layers" in result.stderr
