"""What a command was started from, so that other processes can build the same one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from esegeta.config import RunConfig, load_config
from esegeta.errors import ConfigError, OutputError
from esegeta.model import file_sha256
from esegeta.plain_json import json_sha256, parse_json
from esegeta.report.shapes import OriginTold, misfit
from esegeta.volume import write_json
from esegeta.workflow.attribute import experiment_command
from esegeta.workflow.build import build_experiment, build_predictions
from esegeta.workflow.command import Command
from esegeta.workflow.concepts import build_concepts
from esegeta.workflow.concepts.tasks import concepts_command
from esegeta.workflow.dissect import build_dissection
from esegeta.workflow.dissect.tasks import shared_dissection_command
from esegeta.workflow.examples import build_examples
from esegeta.workflow.examples.tasks import examples_command
from esegeta.workflow.features import build_features
from esegeta.workflow.features.tasks import features_command
from esegeta.workflow.inspect import build_inspection, inspection_command
from esegeta.workflow.predict import predictions_command
from esegeta.workflow.retrain import build_retraining
from esegeta.workflow.retrain.tasks import retraining_command
from esegeta.workflow.similarity import build_comparison
from esegeta.workflow.similarity.tasks import comparison_command
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.task import Listener


@dataclass(frozen=True)
class Origin:
    """A command line, as far as it decides what is done.

    Args:
        command: its name, such as run.
        config: absolute path of the config.
        overrides: of `--set`.
        output: of `-o`, absolute.
        device: of `--device`.
        names: layers to dissect, further configs whose networks are compared, or the words
            `probabilities` and `fit`.
        config_sha256: of the config as it was.
    """

    command: str
    config: str
    overrides: tuple[str, ...] = ()
    output: str | None = None
    device: str | None = None
    names: tuple[str, ...] = ()
    config_sha256: str = ""

    @classmethod
    def of(
        cls,
        command: str,
        config: Path,
        overrides: Collection[str] = (),
        *,
        output: Path | None = None,
        device: str | None = None,
        names: Collection[str] = (),
    ) -> Origin:
        """Return the origin of a command line that is being run here."""
        where = None if output is None else str(output.expanduser().absolute())
        sha256 = file_sha256(config) if config.is_file() else ""
        given = (tuple(overrides), where, device, tuple(names), sha256)
        return cls(command, str(config.absolute()), *given)

    def load(self) -> RunConfig:
        """Read the config, which must be as it was; its output counts from where we are.

        Raises:
            ConfigError: it has changed since.
        """
        path = Path(self.config)
        if self.config_sha256 and (not path.is_file() or file_sha256(path) != self.config_sha256):
            raise ConfigError(
                f"{path}: was removed or changed since the command was started",
                hint="start the command again; finished tasks that still match are kept",
            )
        return load_config(path, self.overrides)

    @property
    def sha256(self) -> str:
        """What tells it from others."""
        return json_sha256(asdict(self))

    @property
    def folder(self) -> Path | None:
        """Where results go, where that was said."""
        return None if self.output is None else Path(self.output)

    def root(self, config: RunConfig) -> Path:
        """Return the output folder, absolute."""
        output = Path(self.output or config.keys.output).expanduser()
        return (output / config.keys.name).absolute()

    def fixed(self, config: RunConfig) -> Origin:
        """Return the same with its output said, so that it can be built from any folder."""
        return replace(self, output=str(self.root(config).parent))

    def build(self, listener: Listener, only: Collection[str] | None = None) -> Command:
        """Build the command.

        Args:
            listener: is told of windows that went through the network.
            only: cases whose files are looked at; all without it.

        Raises:
            EsegetaError: the first thing found wrong with it.
        """
        return BUILDERS[self.command](self, listener, only)

    @property
    def subject(self) -> list[str]:
        """What its command line is about: the config, with what belongs before and behind it."""
        if self.command == "features":
            return [*self.names, self.config]
        return [self.config, *(self.names if self.command == "similarity" else ())]

    def save(self, folder: SharedFolder) -> None:
        """Write it down for those who gather."""
        write_json(folder.origin, asdict(self))

    @classmethod
    def read(cls, folder: SharedFolder) -> Origin:
        """Read what was written down.

        Raises:
            OutputError: it cannot be read, or tells of another folder.
        """
        try:
            content = parse_json(folder.origin.read_bytes())
            if misfit(content, OriginTold) is not None or content["command"] != folder.command:
                raise ValueError
            lists = {name: tuple(content[name]) for name in ("overrides", "names")}
            found = cls(**{**content, **lists})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise OutputError(
                f"{folder.origin}: cannot be read", hint="run a part of the command again"
            ) from error
        require_here(Path(found.output or "") / folder.root.name, folder.root)
        return found


def require_here(meant: Path, here: Path) -> None:
    """Refuse a folder of results that was moved or copied: its command would write elsewhere.

    Args:
        meant: where its command writes to.
        here: where it is.

    Raises:
        OutputError: these are two folders.
    """
    if meant.resolve() != here.resolve() and not (meant.exists() and meant.samefile(here)):
        raise OutputError(
            f"{here}: its command was started for {meant}, and would write there",
            hint="gather there, or move the folder back; or run a part of the command again "
            f"with -o {here.parent}",
        )


def _run(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    experiment = build_experiment(
        origin.load(), output=origin.folder, device=origin.device, only=only
    )
    return experiment_command(experiment, listener)


def _predict(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    experiment = build_predictions(
        origin.load(), output=origin.folder, device=origin.device, only=only
    )
    written = experiment.predictor.labels.foreground if origin.names else ()
    return predictions_command(experiment, listener, written)


def _retrain(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    experiment = build_experiment(origin.load(), output=origin.folder, device=origin.device)
    return retraining_command(build_retraining(experiment))


def _dissect(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    dissection = build_dissection(
        origin.load(), layers=origin.names, output=origin.folder, device=origin.device
    )
    return shared_dissection_command(dissection, listener)


def _concepts(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    run = build_concepts(origin.load(), output=origin.folder, device=origin.device)
    return concepts_command(run, listener)


def _similarity(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    more = [Path(name) for name in origin.names]
    comparison = build_comparison(origin.load(), more, output=origin.folder, device=origin.device)
    return comparison_command(comparison, listener)


def _features(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    job = build_features(origin.load(), output=origin.folder, device=origin.device)
    return features_command(job, fit_only=bool(origin.names))


def _inspect(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    job = build_inspection(origin.load(), output=origin.folder, device=origin.device)
    return inspection_command(job)


def _examples(origin: Origin, listener: Listener, only: Collection[str] | None) -> Command:
    study = build_examples(origin.load(), output=origin.folder, device=origin.device)
    return examples_command(study)


Builder = Callable[[Origin, Listener, Collection[str] | None], Command]
BUILDERS: Mapping[str, Builder] = {
    "run": _run,
    "predict": _predict,
    "retrain": _retrain,
    "dissect": _dissect,
    "concepts": _concepts,
    "similarity": _similarity,
    "features": _features,
    "inspect": _inspect,
    "examples": _examples,
}
"""How commands are built; those of cases look at some of them only."""

OF_CASES = ("run", "predict")
"""Commands whose places are cases and stand by themselves: workers look at their own only."""
