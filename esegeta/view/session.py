"""One model and one case in memory: questions in, maps out; the prediction is made once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from esegeta.errors import ConfigError, ModelError, suggest
from esegeta.explain import EXPLAINERS, Attribution, By, Explainer, map_on_file
from esegeta.explain.serving import methods_that_serve
from esegeta.explain.source_map import default_by, kept_of
from esegeta.report import TaskFiles, save_attribution
from esegeta.report.page import MapEntry, MapVolume
from esegeta.targets import FrozenTarget, Scene
from esegeta.view.aim import Aim, Aimer
from esegeta.view.answers import Answer, Answers
from esegeta.view.copies import Copier
from esegeta.view.ground import Ground, lay_ground
from esegeta.view.question import Question
from esegeta.volume import Case, ReadingWarning, is_interpolated, read_volume
from esegeta.workflow import Experiment, Listener
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.fingerprint import provenance
from esegeta.workflow.kept import KeptMap, add_to_record, require_same_network
from esegeta.workflow.lock import locked
from esegeta.workflow.maps import expected_windows
from esegeta.workflow.record import KEPT_BY

QUICK = ("saliency", "input_x_gradient", "hires_cam", "guided_backprop")
"""Methods that take one forward and one backward pass of the windows that a target touches."""

COMMAND = "esegeta view"


@dataclass(eq=False)
class Relay:
    """Tells the current listener how many windows went through the network."""

    listener: Callable[[int], None] | None = None

    def advance(self, windows: int) -> None:
        """Pass it on."""
        if self.listener is not None:
            self.listener(windows)


@dataclass(frozen=True, eq=False)
class Session:
    """A model, a case and its prediction; explain from one thread at a time.

    Args:
        experiment: the experiment, with the model and the folder for maps.
        case: files of the case.
        scene: the case with its prediction.
        ground: the case on the page.
        methods: methods that may be asked for, by name.
        relay: receives the count of windows that went through the network.
    """

    experiment: Experiment
    case: Case
    scene: Scene
    ground: Ground
    methods: Mapping[str, Explainer]
    relay: Relay
    _aimer: Aimer = field(init=False, repr=False)
    _copier: Copier = field(init=False, repr=False)
    answers: Answers = field(default_factory=Answers, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_aimer", Aimer(self.scene))
        object.__setattr__(self, "_copier", Copier.of(self.scene.volume, self.ground.view))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that may be asked for."""
        return self.scene.labels.foreground

    def question(self, values: object) -> Question:
        """Check what a page has sent.

        Raises:
            ConfigError: it is not a question.
        """
        return Question.of(values, self.labels, tuple(self.methods))

    def aim(self, question: Question) -> Aim:
        """Return what a question is about.

        Raises:
            TargetError: there is nothing of that kind at the place.
        """
        return self._aimer.aim(question)

    def volume(self, identity: str) -> bytes | None:
        """Return a volume by its id; None where there is none, or it is not held any more."""
        if identity in self.ground.volumes:
            return self.ground.volumes[identity]
        return self.answers.volume(identity)

    def freeze(self, aim: Aim) -> FrozenTarget:
        """Return the target of a question on the prediction, which is there already."""
        return aim.target.freeze(self.scene)

    def expected_windows(self, frozen: FrozenTarget, method: str) -> int | None:
        """Return about how many windows an answer takes."""
        x = self.scene.volume.batch
        return expected_windows(self.methods[method], [frozen], self.scene.predictor, x)

    def answer(self, aim: Aim, method: str, frozen: FrozenTarget) -> Answer:
        """Explain; windows that do not touch the target are not run.

        Raises:
            EsegetaError: the method cannot explain it.
        """
        known = self.answers.known(aim, method)
        if known is not None:
            return known
        identity = self.answers.new_id()
        attribution = self._explain(frozen, method)
        layers, volumes = self._layers(attribution, identity)
        answer = Answer(
            aim, method, self._entry(identity, aim, method, attribution, layers), volumes
        )
        self.answers.hold(answer)
        return answer

    def keep(self, aim: Aim, method: str, frozen: FrozenTarget) -> TaskFiles:
        """Explain again, write the map as a run does, record included, and return its path.

        Raises:
            OutputError: the folder is held by another process, holds the run of another network,
                or cannot be written.
        """
        require_same_network(self.experiment)
        attribution = self._explain(frozen, method)
        attribution = replace(attribution, warnings=self._warnings(attribution))
        keys = self.experiment.config.keys
        files = TaskFiles(self.experiment.root, self.case.name, aim.name, method)
        note = {
            **provenance(self.experiment, hash_inputs(self.case)),
            KEPT_BY: COMMAND,
            "label": aim.label,
            "place_mm": list(aim.place_mm),
        }
        kept = KeptMap(
            self.experiment.cases.index(self.case),
            aim.name,
            method,
            self.methods[method],
            attribution.facts.seconds,
            attribution.warnings,
            COMMAND,
        )
        with locked(self.experiment.root):
            save_attribution(
                files, attribution, note, dtype=keys.dtype, by=keys.maps.by, write=keys.write
            )
            add_to_record(self.experiment, self.scene, kept)
        return files

    def _warnings(self, attribution: Attribution) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*attribution.warnings, *self.scene.warnings]))

    def _explain(self, frozen: FrozenTarget, method: str) -> Attribution:
        return self.methods[method].explain(self.scene.predictor, self.scene.volume, frozen)

    def _layers(
        self, attribution: Attribution, answer: str
    ) -> tuple[tuple[MapVolume, ...], dict[str, bytes]]:
        """Return the sum over channels and, of several, each channel's map, with their copies."""
        by = self.experiment.config.keys.maps.by
        data, unit, copy = attribution.data, attribution.unit, self._copier.copy
        if is_carried(attribution, by):
            on_file = map_on_file(attribution, by)
            data, unit, copy = on_file.data, on_file.unit, self._copier.copy_of_file
        maps: list[tuple[str, Tensor]] = [("the map", data)]
        if attribution.has_channels:
            named = zip(attribution.volume.channels, data, strict=True)
            maps = [("all channels", data)]
            maps += [(f"channel {channel}", part[None]) for channel, part in named]
        layers, volumes = [], {}
        for number, (words, part) in enumerate(maps):
            identity = f"{answer}-{number}"
            made = copy(part, is_signed=attribution.meaning.is_signed)
            volumes[identity] = made.content
            shown = (made.low, made.high, made.peak, made.is_signed)
            layers.append(MapVolume(words, identity, unit, *shown))
        return tuple(layers), volumes

    def _entry(
        self,
        identity: str,
        aim: Aim,
        method: str,
        attribution: Attribution,
        layers: tuple[MapVolume, ...],
    ) -> MapEntry:
        target: FrozenTarget = attribution.target
        meaning, facts = attribution.meaning, attribution.facts
        above, below = meaning.readings(target.plain)
        shown = [row.value for row in self.ground.entry.labels if row.name == aim.label]
        return MapEntry(
            id=identity,
            case=self.ground.entry.id,
            target=aim.name,
            method=method,
            layers=layers,
            label=shown[0] if shown else 0,
            outline=self.ground.outlines.get(aim.label, ""),
            focus=aim.place_mm,
            about=aim.words,
            positive=above,
            negative=below if meaning.is_signed else above,
            warnings=attribution.warnings,
            facts=(
                ("target", target.description),
                ("method", attribution.method),
                *((key, str(value)) for key, value in attribution.parameters.items()),
                ("values", meaning.sign),
                ("windows", f"{facts.active_windows} of {facts.num_windows} touch the target"),
                ("time", f"{facts.seconds:.3g} s"),
            ),
        )


def is_carried(attribution: Attribution, by: By | None) -> bool:
    """Tell whether a map comes to the file's grid by more than turning axes and interpolation.

    Args:
        attribution: the map.
        by: rule that the config gives; None for what suits the map's meaning.
    """
    kept = kept_of(attribution.meaning)
    if (by or default_by(attribution.meaning)) == "interpolation" or kept == "height":
        return False
    return kept == "slope" or is_interpolated(attribution.volume)


def open_session(experiment: Experiment, listener: Listener, *, case: str | None = None) -> Session:
    """Read a case and predict it, once.

    Args:
        experiment: the experiment; its targets and scores are ignored.
        listener: receives the progress of the prediction.
        case: name of one of its cases; the first by default.

    Raises:
        EsegetaError: the case does not exist, cannot be read or predicted, or no quick method
            can explain the network.
    """
    relay = Relay(listener.advance)
    predictor = replace(experiment.predictor, on_windows=relay.advance)
    experiment = replace(experiment, predictor=predictor)
    methods = quick_methods(experiment)
    files = _chosen(experiment.cases, case)
    with warnings.catch_warnings(action="ignore", category=ReadingWarning):
        volume, truth = experiment.read(files)
        scan = read_volume(files, experiment.reading)
    scene = Scene(predictor, volume.to(experiment.device), truth)
    listener.expect(1)
    listener.begin(f"{files.name}: prediction", 1, len(predictor.windows(volume.batch)))
    source = scene.on_source(experiment.config.keys.prediction.resample)
    ground = lay_ground(scan, source, experiment.config)
    entry = replace(ground.entry, notes=(*ground.entry.notes, *scene.warnings))
    relay.listener = None
    return Session(experiment, files, scene, replace(ground, entry=entry), methods, relay)


def quick_methods(experiment: Experiment) -> dict[str, Explainer]:
    """Return the quick methods that a network can serve; those of the config as it has them.

    Raises:
        ModelError: there are none.
    """
    serving = methods_that_serve(experiment.capability)
    found: dict[str, Explainer] = {name: EXPLAINERS[name]() for name in QUICK if name in serving}
    for method in experiment.config.methods.values():
        if method.name in found:
            found[method.name] = method
    if not found:
        raise ModelError(
            "no quick method can explain this network, which gives no gradients",
            hint=f"`esegeta run` with one of: {', '.join(serving)}",
        )
    return found


def _chosen(cases: Sequence[Case], name: str | None) -> Case:
    if name is None:
        return cases[0]
    known = {case.name: case for case in cases}
    if name not in known:
        raise ConfigError(f'--case: "{name}" is not among the cases', hint=suggest(name, known))
    return known[name]
