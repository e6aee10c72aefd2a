"""`esegeta features` as a list of tasks: what is learned first, then picture by picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from esegeta.report.file_names import hyphenated
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.command import Command, Outcome, Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.features import draw, fits
from esegeta.workflow.features.build import FeatureJob
from esegeta.workflow.features.objectives import PlannedObjective
from esegeta.workflow.features.record import FeatureRecorder
from esegeta.workflow.features.variants import Variant
from esegeta.workflow.fingerprint import prediction_parts
from esegeta.workflow.task import Content, Kind, Listener, Task

MEMORY_HINT = "lower features.size, features.patches or inference.batch_size"
OF_A_PICTURE = (
    "decorrelate",
    "prior_weight",
    "alpha_norm",
    "jitter_voxels",
    "rotate_degrees",
    "scale",
    "blur",
    "norm",
    "clip",
    "steps",
    "rate",
    "seeds",
    "diversity",
    "start_case",
)
"""Keys that decide a picture, whichever way it is made."""


class PictureFingerprints:
    """Fingerprints of what is learned and made.

    Args:
        job: the pictures.
    """

    def __init__(self, job: FeatureJob) -> None:
        self._job = job

    @cached_property
    def inputs(self) -> Mapping[str, dict[str, str]]:
        """SHA-256 of every file of each case."""
        return {case.name: hash_inputs(case) for case in self._job.basis.cases}

    @cached_property
    def _patches(self) -> dict[str, Any]:
        """What decides the real patches: of the network, only how it takes images."""
        basis, keys = self._job.basis, self._job.keys
        cases = [prediction_parts(basis, files) for files in self.inputs.values()]
        return {
            "cases": [{**case, "model": None, "inference": None} for case in cases],
            "size": keys.size,
            "patches": keys.patches,
            "seed": basis.config.keys.seed,
            "thin": self._job.thin,
        }

    @cached_property
    def expert(self) -> str:
        """Of the expert."""
        return fingerprint({**self._patches, "expert": self._job.keys.expert.model_dump()})

    @cached_property
    def generator(self) -> str:
        """Of the generator."""
        return fingerprint({**self._patches, "generator": self._job.keys.generator.model_dump()})

    def picture(self, planned: PlannedObjective, variant: Variant) -> str:
        """Of a picture."""
        basis, keys = self._job.basis, self._job.keys
        dumped = keys.model_dump(mode="json")
        first = next(iter(self.inputs.values()))
        return fingerprint(
            {
                "patches": self._patches,
                "network": prediction_parts(basis, first),
                "objective": planned.parts,
                "variant": vars(variant),
                "keys": {key: dumped[key] for key in OF_A_PICTURE},
                "expert": self.expert if variant.prior == "expert" else None,
                "generator": self.generator if variant.parametrisation == "code" else None,
            }
        )

    def dream(self) -> str:
        """Of the dream."""
        basis, keys = self._job.basis, self._job.keys
        assert keys.dream is not None
        name = keys.dream.case or basis.cases[0].name
        return fingerprint(
            {
                "network": prediction_parts(basis, self.inputs[name]),
                "size": keys.size,
                "dream": keys.dream.model_dump(mode="json"),
                "seed": basis.config.keys.seed,
                "clip": keys.clip,
                "case": name,
            }
        )


def run_features(
    job: FeatureJob,
    listener: Listener | None = None,
    policy: Policy | None = None,
    *,
    fit_only: bool = False,
) -> Outcome:
    """Make every picture of a config and write files, tables, figures and the record.

    What is there and matches is not made again. One failure does not stop the others, unless the
    policy says so.

    Args:
        job: what is made.
        listener: told of the progress.
        policy: what is done with what is there and with failures.
        fit_only: learn expert and generator, and make no picture.

    Raises:
        DataError: a file of a case cannot be read.
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    return run_command(features_command(job, fit_only=fit_only), listener, policy)


def features_command(job: FeatureJob, *, fit_only: bool = False) -> Command:
    """Return the command as the engine sees it; see `run_features`.

    A place is an objective with its pictures, or what is learned first.
    """
    prints = PictureFingerprints(job)
    tasks = list(list_fits(job) if fit_only else list_tasks(job, prints))
    recorder = FeatureRecorder(job, prints.inputs, fit_only=fit_only)
    costs = Counter(task.place for task in tasks)
    return Command(
        root=job.basis.root,
        config=job.basis.config,
        folder=job.folder,
        job=job,
        tasks=lambda desk: tasks,
        num_tasks=sum(not task.is_step for task in tasks),
        write=recorder.write,
        notes=job.basis.notes,
        places={place: float(count) for place, count in costs.items()},
    )


def list_fits(job: FeatureJob) -> Iterator[Task]:
    """Yield the tasks that learn of the cases."""
    yield expert_task(job)
    yield generator_task(job)


def list_tasks(job: FeatureJob, prints: PictureFingerprints) -> Iterator[Task]:
    """Yield what is needed of those, and a task for every picture and figure."""
    keys = job.keys
    if keys.needs_expert:
        yield expert_task(job)
    if keys.needs_generator:
        yield generator_task(job)
    for planned in job.objectives:
        pictures = [_picture(job, prints, planned, one) for one in job.variants(planned)]
        yield from pictures
        yield _figure(job, planned, pictures)
    if keys.dream is not None:
        yield _dream(job, prints)


def expert_task(job: FeatureJob) -> Task:
    """Return the task that fits the expert."""
    record = job.folder / "fit" / f"expert_{job.keys.expert.kind}.safetensors"
    return _fit("fit / expert", FIT_EXPERT, PictureFingerprints(job).expert, record)


def generator_task(job: FeatureJob) -> Task:
    """Return the task that fits the generator."""
    record = job.folder / "fit" / f"generator_{job.keys.generator.kind}.safetensors"
    return _fit("fit / generator", FIT_GENERATOR, PictureFingerprints(job).generator, record)


def _fit(name: str, kind: Kind, key: str, record: Path) -> Task:
    files = (record.with_suffix(".json"),)
    names = {"objective": "", "picture": name}
    return Task(
        name=name,
        kind=kind,
        key=key,
        record=record,
        files=files,
        data={"names": names},
        place=name,
        order=(0,),
    )


def _picture(
    job: FeatureJob, prints: PictureFingerprints, planned: PlannedObjective, variant: Variant
) -> Task:
    needs = ["fit / expert"] if variant.prior == "expert" else []
    needs += ["fit / generator"] if variant.parametrisation == "code" else []
    place = [one.name for one in job.objectives].index(planned.name)
    folder = job.folder / hyphenated(planned.name)
    return Task(
        name=f"{planned.name} / {variant.name}",
        kind=PICTURE,
        key=prints.picture(planned, variant),
        record=folder / f"{variant.name}.json",
        files=(folder / f"{variant.name}.safetensors",),
        data={
            "objective": place,
            "variant": variant.name,
            "names": {"objective": planned.name, "picture": variant.name},
        },
        needs=tuple(needs),
        scope=(planned.name,),
        place=planned.name,
        order=(1, place),
    )


def _figure(job: FeatureJob, planned: PlannedObjective, pictures: Sequence[Task]) -> Task:
    place = [one.name for one in job.objectives].index(planned.name)
    path = job.folder / f"{hyphenated(planned.name)}.png"
    return Task(
        name=f"{planned.name} / figure",
        kind=FIGURE,
        key=fingerprint({"pictures": [one.key for one in pictures], "shown": job.keys.shown}),
        record=job.folder / hyphenated(planned.name) / "figure.json",
        files=(path,),
        data={"objective": place},
        needs=tuple(one.name for one in pictures),
        scope=(planned.name,),
        place=planned.name,
        is_step=True,
    )


def _dream(job: FeatureJob, prints: PictureFingerprints) -> Task:
    assert job.keys.dream is not None
    name = job.keys.dream.case or job.basis.cases[0].name
    return Task(
        name=f"{name} / dream",
        kind=DREAM,
        key=prints.dream(),
        record=job.folder / "dream" / "dream.json",
        data={"case": name, "names": {"objective": job.keys.dream.layer, "picture": "dream"}},
        scope=("dream",),
        place="dream",
        order=(2,),
    )


def recall_picture(content: Content) -> Content:
    """Return what a picture's record tells, but for single images."""
    return {key: value for key, value in content.items() if key != "images"}


FIT_EXPERT = Kind(fits.fit_expert, memory_hint=MEMORY_HINT)
FIT_GENERATOR = Kind(fits.fit_generator, memory_hint=MEMORY_HINT)
PICTURE = Kind(
    draw.make_picture, recall=recall_picture, holds=("activation",), memory_hint=MEMORY_HINT
)
FIGURE = Kind(draw.draw_objective, memory_hint=MEMORY_HINT)
DREAM = Kind(draw.dream_on, recall=recall_picture, memory_hint=MEMORY_HINT)
