#!/usr/bin/env python3
"""Measure esegeta against captum over MONAI's sliding-window inference, and print a table.

    python scripts/bench.py [--quick] [--only saliency_local occlusion] [--markdown FILE]

Every contender runs alone in its own process. Ratios are within one run: with `--repeat` the two
sides of a row take turns, the fastest run and the largest peak of each count. Of the libraries,
the network and the input, which both sides hold before they start, nothing is subtracted unless
a line says "above base".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench_run import Bench, difference_line, memory_lines, time_lines
from bench_score_rows import curve, score_memory, sensitivity
from bench_table import Line, hardware, show, to_markdown

ROOT = Path(__file__).resolve().parent.parent
BYTES_MB = 1 / 2**20
FLOAT, BOOL = 4, 1
HELP_RUNS = 5
DEMO_LIMIT_S = 240
KERNEL_SHAP_GAP = 1e-4


def saliency(bench: Bench, region: int | None, name: str, must: float) -> Iterator[Line]:
    row = f"saliency {bench.side}^3, {name}, captum"
    ours, other = bench.run(
        bench.job("esegeta_saliency", region=region), bench.job("captum_saliency", region=region)
    )
    yield from time_lines(row, ours, other, must)
    yield from memory_lines(row, ours, other, 0.25)
    yield difference_line(row, ours, other)


def saliency_local(bench: Bench) -> Iterator[Line]:
    yield from saliency(bench, None, "local target", 0.45)


def saliency_everywhere(bench: Bench) -> Iterator[Line]:
    yield from saliency(bench, 0, "target everywhere", 0.8)


def three_targets(bench: Bench) -> Iterator[Line]:
    side = 64 if bench.quick else 128
    for region, name in ((0, "everywhere"), (None, "local")):
        row = f"saliency {side}^3, prediction included, three targets {name}, one target"
        three, one = bench.run(
            bench.job("esegeta_three_targets", side, region),
            bench.job("esegeta_one_target", side, region),
        )
        yield from time_lines(row, three, one, 1.9)
        yield from memory_lines(row, three, one, None)
        yield difference_line(row, three, one)


def integrated_gradients(bench: Bench) -> Iterator[Line]:
    steps = 8
    row = f"integrated gradients {bench.side}^3, {steps} steps, local target, captum"
    ours, one_step, other = bench.run(
        replace(bench.job("esegeta_integrated_gradients"), steps=steps),
        replace(bench.job("esegeta_integrated_gradients"), steps=1),
        replace(bench.job("captum_integrated_gradients"), steps=1),
    )
    yield from time_lines(row, ours, other, 0.2, steps)
    yield from memory_lines(row, ours, other, None)
    yield difference_line(row, one_step, other, " (one step each)")
    bench.notes.append(
        f"Integrated gradients: captum ran one step, its seconds are multiplied by {steps}; "
        "ours are those of all steps and of the two values for completeness."
    )


def overhead(bench: Bench) -> Iterator[Line]:
    row = f"saliency {bench.side}^3, local target, bare network on the same windows"
    ours, other = bench.run(bench.job("esegeta_saliency"), bench.job("bare_network"))
    yield from time_lines(row, ours, other, 1.15)


def flat_memory(bench: Bench) -> Iterator[Line]:
    small, large = (64, 128) if bench.quick else (128, 256)
    row = f"saliency {small}^3 -> {large}^3, local target, memory without volume-sized buffers"
    one, two = bench.run(*(bench.job("esegeta_saliency", side) for side in (small, large)))
    less = {side: sum(volume_buffers_mb(side).values()) for side in (small, large)}
    rest = [result.above_mb - less[side] for side, result in ((small, one), (large, two))]
    yield Line(
        row,
        "above base, whole",
        f"{two.above_mb:.0f} MB",
        f"{one.above_mb:.0f} MB",
        two.above_mb / one.above_mb,
    )
    yield Line(
        row, "without buffers", f"{rest[1]:.0f} MB", f"{rest[0]:.0f} MB", rest[1] / rest[0], 1.1
    )
    for stage in ("freeze", "work"):
        a, b = (result.peaks[stage] - result.base_mb for result in (one, two))
        yield Line(row, f"above base, {stage}", f"{b:.0f} MB", f"{a:.0f} MB", b / a)
    listed = ", ".join(f"{name} {mb:.0f}" for name, mb in volume_buffers_mb(large).items())
    bench.notes.append(
        f"Flat memory: subtracted at {large}^3, in MB: {listed}; the input is part of the base, "
        "and a volume larger than the window has no padded copy."
    )


def volume_buffers_mb(side: int) -> dict[str, float]:
    """Return what an explanation holds of the volume's size while windows run."""
    voxels = side**3 * BYTES_MB
    return {
        "gradient (1 channel)": voxels * FLOAT,
        "coverage": voxels * FLOAT,
        "target's mask": voxels * BOOL,
    }


def occlusion(bench: Bench) -> Iterator[Line]:
    shape = (48, 32, 32) if bench.quick else (96, 48, 32)
    text = "x".join(map(str, shape))
    row = f"occlusion {text}, windows 32^3, boxes 8^3, stride 4, local target, captum"
    ours, other = bench.run(
        *(
            replace(bench.job(name), shape=shape, window=32, region=10)
            for name in ("esegeta_occlusion", "captum_occlusion")
        )
    )
    yield from time_lines(row, ours, other, 0.25)
    yield difference_line(row, ours, other)


def over_features(bench: Bench, method: str, must: float) -> Iterator[Line]:
    side, window, start, region = (64, 32, 12, 10) if bench.quick else (128, 64, 24, 20)
    features, coalitions = (30, 100) if bench.quick else (200, 300)
    row = f"{method} {side}^3, {features} supervoxels, local target, captum on our predictor"
    ours, other = bench.run(
        *(
            replace(
                bench.job(f"{library}_{method}", side, region),
                window=window,
                start=start,
                features=features,
                coalitions=coalitions,
            )
            for library in ("esegeta", "captum")
        )
    )
    yield from time_lines(row, ours, other, 0.3)
    yield from memory_lines(row, ours, other, None)
    yield difference_line(row, ours, other, must=must)
    bench.notes.append(
        f"{method}: the target's cube of {region}^3 starts at voxel {start} of each axis and "
        "touches 8 of 27 windows; one put at random touches 7.6 on the mean, one in the middle "
        "all 27."
    )
    if method == "kernel_shap":
        bench.notes.append(
            f"kernel_shap: both ran the same {coalitions} coalitions, captum's; the map held "
            "against is captum's regression of its values in float64 (its own is in float32)."
        )


def feature_ablation(bench: Bench) -> Iterator[Line]:
    yield from over_features(bench, "feature_ablation", 1e-5)


def kernel_shap(bench: Bench) -> Iterator[Line]:
    yield from over_features(bench, "kernel_shap", KERNEL_SHAP_GAP)


def method_memory(bench: Bench) -> Iterator[Line]:
    from bench_methods import OPTIMISED, smallest

    from esegeta.explain import EXPLAINERS

    side = 64 if bench.quick else 96
    row = f"memory of each method {side}^3, target in one window, saliency"
    jobs = [replace(bench.job("esegeta_method", side), start=2, method=name) for name in EXPLAINERS]
    one, *others = bench.run(*jobs)
    for name, result in zip(list(EXPLAINERS)[1:], others, strict=True):
        must = None if name in OPTIMISED else 2.0
        for line in memory_lines(row, result, one, must):
            yield replace(line, figure=f"{name}, {line.figure}")
    listed = f"{smallest('integrated_gradients')}"
    bench.notes.append(f"Memory of each method: few steps and samples, such as {listed}.")


def dissection(bench: Bench) -> Iterator[Line]:
    from bench_dissect import NUM_UNITS, DissectJob

    volumes, images = (4, 40) if bench.quick else (12, 200)
    for ndim, count, what, must in (
        (3, volumes, "volumes of 64^3", 2.0),
        (2, images, "images of 128^2", None),
    ):
        row = f"dissection, {NUM_UNITS} units, {count} {what}, forward passes alone"
        jobs = [
            DissectJob(name, ndim, count, bench.threads)
            for name in ("dissect", "forward", "dissect_all")
        ]
        ours, forward, everything = bench.run(*jobs)
        yield from time_lines(row, ours, forward, must)
        yield from memory_lines(row, ours, forward, None)
        with_all = f"{row}, with 1000 draws and thresholds of other cases"
        yield from time_lines(with_all, everything, forward, None)
    small, large = volumes // 2, 2 * volumes
    row = f"dissection, memory of {large} volumes of 64^3, of {small}"
    two, one = bench.run(
        *(DissectJob("dissect", 3, count, bench.threads) for count in (large, small))
    )
    yield from memory_lines(row, two, one, 1.1)


def help_time(bench: Bench) -> Iterator[Line]:
    row = "esegeta --help"
    program = Path(sys.executable).parent / "esegeta"
    seconds = []
    for _ in range(HELP_RUNS):
        start = time.perf_counter()
        if (
            not program.exists()
            or subprocess.run([program, "--help"], capture_output=True, check=False).returncode
        ):
            yield Line(row, "seconds", "missing", must=0.5)
            return
        seconds.append(time.perf_counter() - start)
    yield Line(row, f"best of {HELP_RUNS}", f"{min(seconds):.2f} s", "", min(seconds), 0.5)


def demo(bench: Bench) -> Iterator[Line]:
    row, script = "scripts/demo", ROOT / "scripts" / "demo"
    start = time.perf_counter()
    if not script.exists() or subprocess.run(["bash", script], cwd=ROOT, check=False).returncode:
        yield Line(row, "seconds", "missing or failed", must=DEMO_LIMIT_S)
        return
    seconds = time.perf_counter() - start
    yield Line(row, "seconds", f"{seconds:.0f} s", "", seconds, DEMO_LIMIT_S)


ROWS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "saliency_local": saliency_local,
    "saliency_everywhere": saliency_everywhere,
    "three_targets": three_targets,
    "integrated_gradients": integrated_gradients,
    "overhead": overhead,
    "flat_memory": flat_memory,
    "occlusion": occlusion,
    "feature_ablation": feature_ablation,
    "kernel_shap": kernel_shap,
    "method_memory": method_memory,
    "curve": curve,
    "sensitivity": sensitivity,
    "score_memory": score_memory,
    "dissection": dissection,
    "help": help_time,
    "demo": demo,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of torch on the CPU")
    parser.add_argument("--batch-size", type=int, default=1, help="windows at a time, both sides")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small sizes, for trying out")
    parser.add_argument("--demo", action="store_true", help="also time scripts/demo")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="NAME", default=None)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table there")
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:2] == ["work"]:  # one contender, alone in its process
        from bench_work import Job, work

        work(Job(**json.loads(sys.argv[2])), Path(sys.argv[3]))
        return
    if sys.argv[1:2] == ["dissect"]:
        from bench_dissect import DissectJob, work_dissection

        work_dissection(DissectJob(**json.loads(sys.argv[2])))
        return
    options = parse()
    names = options.only or [name for name in ROWS if name != "demo" or options.demo]
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            options.device,
            options.threads,
            options.batch_size,
            options.repeat,
            options.quick,
            Path(folder),
        )
        for name in names:
            print(name, file=sys.stderr, flush=True)
            lines.extend(ROWS[name](bench))
    setting = (
        f"Device: {bench.device}; windows at a time: {bench.batch_size}; repeats: {bench.repeat}"
        f"{'; --quick sizes' if bench.quick else ''}"
    )
    facts = [*hardware(bench.device, bench.threads), setting, *bench.notes]
    show(lines, facts)
    if options.markdown:
        options.markdown.write_text(to_markdown(lines, facts))


if __name__ == "__main__":
    main()
