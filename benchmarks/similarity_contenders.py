"""Both sides of the row about similarity: sums over positions, against the forward passes alone.

The network and the volumes are those of the row about dissection; an untrained network of the
same shape goes through them too, on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks.dissection_contenders import write_experiment
from benchmarks.job import DissectionJob, SimilarityJob
from esegeta.config import load_config
from esegeta.similarity import linear_cka, merged
from esegeta.workflow import Silence
from esegeta.workflow.similarity import build_comparison
from esegeta.workflow.similarity.estimates import Estimator, Matched
from esegeta.workflow.similarity.session import SimilaritySession
from esegeta.workflow.similarity.strata import image_of
from esegeta.workflow.similarity.tasks import all_tasks
from esegeta.workflow.task import Desk

LAYERS = (
    "model.0",
    "model.1.submodule.0",
    "model.1.submodule.1.submodule.0",
    "model.1.submodule.1.submodule.2",
    "model.1.submodule.2",
    "model.2.0",
)


def build(job: SimilarityJob, folder: Path) -> SimilaritySession:
    """Build a comparison of six layers."""
    path = write_experiment(DissectionJob("forward", 3, job.cases, job.threads), folder)
    keys = yaml.safe_load(path.read_text())
    del keys["dissection"]
    keys["similarity"] = {"layers": list(LAYERS), "methods": ["cka"], "samples": job.samples}
    path.write_text(yaml.safe_dump(keys))
    return SimilaritySession(build_comparison(load_config(path)), Silence())


def forward(session: SimilaritySession) -> None:
    """Read every case, and send it through both networks."""
    for case in session.comparison.cases:
        image = image_of(session.comparison.basis, case).batch
        for network in session.comparison.networks:
            network.basis.predictor.logits(image)


def cka(session: SimilaritySession) -> None:
    """Do the task of every case, and put their sums together: the CKA of all pairs of layers."""
    desk = Desk(session, Silence())
    for task in all_tasks(desk):
        if task.name != "results":
            task.kind.do(task, desk)
    matched = Matched.read(session)
    strata = tuple(sorted(set(matched.stratum.tolist())))
    linear_cka(merged(Estimator(session, matched, strata).parts()))


SIDES: dict[str, Callable[[SimilaritySession], None]] = {"forward": forward, "cka": cka}
