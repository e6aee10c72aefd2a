"""The rows about maps: time, memory and agreement with captum over MONAI's inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.run import BenchmarkRun, difference_line, memory_lines, time_lines
from benchmarks.table import Line

BYTES_MB = 1 / 2**20
FLOAT, BOOL = 4, 1
KERNEL_SHAP_GAP = 1e-4


def saliency(bench: BenchmarkRun, region: int | None, name: str, must: float) -> Iterator[Line]:
    row = f"saliency {bench.side}^3, {name}, captum"
    ours, other = bench.run(
        bench.job("esegeta_saliency", region=region), bench.job("captum_saliency", region=region)
    )
    yield from time_lines(row, ours, other, must)
    yield from memory_lines(row, ours, other, 0.25)
    yield difference_line(row, ours, other)


def saliency_local(bench: BenchmarkRun) -> Iterator[Line]:
    yield from saliency(bench, None, "local target", 0.45)


def saliency_everywhere(bench: BenchmarkRun) -> Iterator[Line]:
    yield from saliency(bench, 0, "target everywhere", 0.8)


def three_targets(bench: BenchmarkRun) -> Iterator[Line]:
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


def integrated_gradients(bench: BenchmarkRun) -> Iterator[Line]:
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


def overhead(bench: BenchmarkRun) -> Iterator[Line]:
    row = f"saliency {bench.side}^3, local target, bare network on the same windows"
    ours, other = bench.run(bench.job("esegeta_saliency"), bench.job("bare_network"))
    yield from time_lines(row, ours, other, 1.15)


def nnunet(bench: BenchmarkRun) -> Iterator[Line]:
    """A network of nnU-Net's kind, all of whose norms see the whole window."""
    side = 64 if bench.quick else 128
    row = f"saliency {side}^3, target everywhere, nnU-Net's kind, bare network on the same windows"
    jobs = (bench.job(name, side, 0) for name in ("esegeta_saliency", "bare_network"))
    ours, other = bench.run(*(replace(job, network="nnunet") for job in jobs))
    yield from time_lines(row, ours, other, 1.05)


def parts(bench: BenchmarkRun) -> Iterator[Line]:
    """Parts of windows, where the network's reach is proved, against whole windows."""
    window, side = (48, 96) if bench.quick else (96, 192)
    small = 64 if bench.quick else 128
    local = replace(bench.job("esegeta_saliency", side), window=window)
    for job, row, must in (
        (local, f"saliency {side}^3, windows {window}^3, local target", 0.6),
        (
            replace(bench.job("esegeta_occlusion", small), start=small // 5, box=48),
            f"occlusion {small}^3, boxes 48^3, local target",
            0.8,
        ),
        (
            replace(bench.job("esegeta_feature_ablation", small), start=small // 5),
            f"feature_ablation {small}^3, 200 supervoxels, local target",
            0.8,
        ),
    ):
        ours, whole = bench.run(job, replace(job, windows="whole"))
        yield from time_lines(f"{row}, whole windows", ours, whole, must)
        yield difference_line(f"{row}, whole windows", ours, whole)


def ten_methods(bench: BenchmarkRun) -> Iterator[Line]:
    """Ten methods on one target with the passes that they share, against each by itself."""
    side = 48 if bench.quick else 96
    row = f"ten methods {side}^3, target everywhere, each by itself"
    names = ("esegeta_ten_methods", "esegeta_ten_methods_apart")
    ours, apart = bench.run(*(bench.job(name, side, 0) for name in names))
    yield from time_lines(row, ours, apart, 0.7)
    yield difference_line(row, ours, apart)


def flat_memory(bench: BenchmarkRun) -> Iterator[Line]:
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


def occlusion(bench: BenchmarkRun) -> Iterator[Line]:
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


def over_features(bench: BenchmarkRun, method: str, must: float) -> Iterator[Line]:
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


def feature_ablation(bench: BenchmarkRun) -> Iterator[Line]:
    yield from over_features(bench, "feature_ablation", 1e-5)


def kernel_shap(bench: BenchmarkRun) -> Iterator[Line]:
    yield from over_features(bench, "kernel_shap", KERNEL_SHAP_GAP)


def method_memory(bench: BenchmarkRun) -> Iterator[Line]:
    from benchmarks.smallest import OPTIMISED, smallest_method
    from esegeta.explain import EXPLAINERS

    side = 64 if bench.quick else 96
    row = f"memory of each method {side}^3, target in one window, saliency"
    jobs = [replace(bench.job("esegeta_method", side), start=2, method=name) for name in EXPLAINERS]
    one, *others = bench.run(*jobs)
    for name, result in zip(list(EXPLAINERS)[1:], others, strict=True):
        must = None if name in OPTIMISED else 2.0
        for line in memory_lines(row, result, one, must):
            yield replace(line, figure=f"{name}, {line.figure}")
    listed = f"{smallest_method('integrated_gradients')}"
    bench.notes.append(f"Memory of each method: few steps and samples, such as {listed}.")
