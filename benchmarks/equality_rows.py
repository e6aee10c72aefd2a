"""The rows about equality: what the oracles of the tests say, as figures and not as passed or not.

They are the tests' own data sets, bundles and files, so that they need a clone with its tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import ROOT, BenchmarkRun
from benchmarks.table import Line

PRETRAINED = ROOT / "../shared/models"
LOGITS, SAME_LOGITS = 1e-4, 1e-5
"""Largest differences of logits from nnU-Net's, and from MONAI's, as shares of their size."""


def nnunet(bench: BenchmarkRun) -> Iterator[Line]:
    """Compare predictions with nnU-Net's predictor, by kind of data set."""
    if find_spec("nnunetv2") is None:
        yield Line("nnU-Net", "least Dice of a label", "missing", must=0.0)
        return
    from esegeta.targets import Scene
    from tests import nnunet as oracle
    from tests.workflow.test_nnunet import KINDS, build, with_target, write_config

    for kind in list(KINDS)[: 2 if bench.quick else None]:
        dataset, how = KINDS[kind]
        folder = bench.folder / f"nnunet-{kind}"
        folder.mkdir()
        found = oracle.make(folder, dataset, **how)
        theirs = oracle.predict(found.folder, found.images, folds=found.folds)
        experiment = build(write_config(folder / "c.yaml", found, **with_target(found)))
        volume, _ = experiment.read(experiment.cases[0])
        scene = Scene(experiment.predictor, volume)
        logits = scene.logits[0].numpy()
        gap = np.abs(logits - theirs.logits.reshape(logits.shape)).max() / np.ptp(theirs.logits)
        label_map = scene.on_source("logits").label_map.numpy()
        dice = min(_dice(label_map, theirs.label_map))
        passes = len(experiment.predictor.plan.passes)
        row = f"nnU-Net: {kind}, {len(found.folds)} fold(s), {passes} passes per window"
        yield Line(row, "least Dice of a label", f"{dice:.6g}", "", 1 - dice, 0.0)
        yield Line(row, "logits, share of their range", "", "", float(gap), LOGITS)


def _dice(ours: Any, theirs: Any) -> Iterator[float]:
    for label in np.unique(theirs)[1:]:
        one, other = ours == label, theirs == label
        yield float(2 * (one & other).sum() / (one.sum() + other.sum()))


def bundle(bench: BenchmarkRun) -> Iterator[Line]:
    """Compare logits with those of a bundle's own workflow, by preprocessing and inferer."""
    from tests.bundles import bundle_lab, compose, inference, run_itself
    from tests.workflow.test_bundle import CHAINS, INFERERS, our_logits

    configs = {f"preprocessing: {name}": inference(preprocessing=compose(*CHAINS[name]))
               for name in list(CHAINS)[: 2 if bench.quick else None]}  # fmt: skip
    for name, keys in list(INFERERS.items())[: 1 if bench.quick else None]:
        inferer = {"_target_": "SlidingWindowInferer", **keys}
        configs[f"windows: {name}"] = inference(inferer=inferer)
    gaps: dict[str, float] = {}
    for number, (name, config) in enumerate(configs.items()):
        folder = bench.folder / f"bundle-{number}"
        folder.mkdir()
        lab = bundle_lab(folder, config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs, _ = run_itself(folder / "bundle", {"image": folder / "a.nii.gz"})
            ours = our_logits(lab)
        gaps[name] = float((ours - theirs).abs().max() / theirs.abs().max())
    for part in ("preprocessing", "windows"):
        own = {name: gap for name, gap in gaps.items() if name.startswith(part)}
        worst = max(own, key=own.__getitem__)
        row = f"bundle: {len(own)} kinds of {part}"
        figure = f"logits, share of their largest; {worst.removeprefix(f'{part}: ')} differs most"
        yield Line(row, figure, "", "", own[worst], SAME_LOGITS)


def kinds(bench: BenchmarkRun) -> Iterator[Line]:
    """Compare one pretrained network as four kinds of model with `monai`."""
    row = "pretrained spleen network"
    if not (PRETRAINED / "spleen_ct_unet.state_dict.pt").is_file():
        yield Line(row, "logits and saliency", "missing", must=SAME_LOGITS)
        return
    from tests.test_pretrained_kinds import by_kind

    found = by_kind(bench.folder, PRETRAINED.resolve())
    for kind, pair in found.items():
        if kind == "monai":
            continue
        for what, one, other in zip(("logits", "saliency"), pair, found["monai"], strict=True):
            gap = float((one - other).abs().max() / other.abs().max())
            yield Line(f"{row}, {kind} against monai", what, "", "", gap, SAME_LOGITS)


def formats(bench: BenchmarkRun) -> Iterator[Line]:
    """Count formats of one volume whose map is not that of the first, to the last byte."""
    from esegeta.volume import Case, Preprocess, Reading, read_case, write_map
    from tests.volume.test_one_image_in_every_format import WRITERS

    written: dict[str, bytes] = {}
    for number, (name, write) in enumerate(WRITERS.items()):
        folder: Path = bench.folder / f"format-{number}"
        folder.mkdir()
        write(folder / name)
        case = Case("a", (folder / name,))
        volume, _ = read_case(case, Preprocess("RAS"), Reading(1, 3))
        write_map(folder / "map.nii", volume.data[0] ** 2, volume)
        written[name] = (folder / "map.nii").read_bytes()
    first, *others = written.values()
    differ = sum(content != first for content in others)
    figure = "maps that differ in any byte from the first's"
    yield Line(f"one volume in {len(written)} formats", figure, str(differ), "", differ, 0.0)
