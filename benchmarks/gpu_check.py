"""Whether esegeta is right and fast on a GPU, in one command: scripts/gpu_check.

    python -m benchmarks.gpu_check [--device cuda:0] [--markdown FILE]

It runs the tests that need CUDA, compares maps with the CPU's, measures saliency against the bare
network and its memory against what was allowed, and runs every method and score once. Exit code 0
where all is as it must be, 1 where something is not, 2 where there is no CUDA device.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu_contenders import GpuSetting, Side, fastest_batch, seconds_of
from benchmarks.measure import synchronize
from benchmarks.table import Line, hardware, show, to_markdown
from esegeta.explain import EXPLAINERS
from esegeta.predict import Precision
from esegeta.score import SCORES

ROOT = Path(__file__).resolve().parent.parent
NOT_MET, NO_DEVICE = 1, 2
EXACT = 1e-5
LEAST_SHARE = 0.9
MEMORY_GB, SLACK = 6.0, 1.1
SMALL = GpuSetting(side=96, window=64)
LARGE = GpuSetting()
METHODS, STUDY = "configs/all_methods_3d.yaml", "configs/score_study.yaml"
LONGEST_S = 240


def exactness(device: torch.device, setting: GpuSetting = SMALL) -> Iterator[Line]:
    """Compare the prediction and a map with the CPU's, in each precision."""
    side = Side.build(setting, torch.device("cpu"))
    expected = side.logits(), side.saliency()
    there = side.on(device)
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
    for precision in precisions:
        found = there.at(precision)
        for what, one, other in zip(
            ("prediction", "saliency"), (found.logits(), found.saliency()), expected, strict=True
        ):
            gap = float((one - other).abs().max() / other.abs().max())
            exact = EXACT if precision == "fp32" else None
            yield Line(f"{precision}, {what}", "largest difference to the CPU", "", "", gap, exact)
            if precision != "fp32":
                likeness = f"{correlation(one, other):.6f}"
                yield Line(f"{precision}, {what}", "correlation with the CPU", likeness)


def correlation(one: Tensor, other: Tensor) -> float:
    pair = torch.stack([one.double().flatten(), other.double().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


def throughput(device: torch.device, setting: GpuSetting = LARGE) -> Iterator[Line]:
    """Measure saliency everywhere as a share of the bare network on the same windows."""
    side = fastest_batch(Side.build(setting, device), device)
    target = side.target()
    bare = seconds_of(side.bare, device)
    ours = seconds_of(lambda: side.saliency_of(target), device)
    size = side.predictor.batch_size
    row = f"saliency {setting.side}^3, windows {setting.window}^3, {size} at a time"
    yield Line(
        row,
        f"time of the bare network's passes (share {bare / ours:.3f})",
        f"{ours:.3f} s",
        f"{bare:.3f} s",
        ours / bare,
        1 / LEAST_SHARE,
    )


def memory(device: torch.device, setting: GpuSetting = LARGE) -> Iterator[Line]:
    """Measure the peak of a prediction and a map, where the config knows `memory_gb` against it."""
    from esegeta.config.inference import InferenceKeys

    torch.cuda.empty_cache()
    side = Side.build(setting, device)
    torch.cuda.reset_peak_memory_stats(device)
    if "memory_gb" not in InferenceKeys.model_fields:
        side.saliency()
        peak = torch.cuda.max_memory_allocated(device) / 2**30
        yield Line("prediction and saliency", "peak on the GPU", f"{peak:.2f} GB")
        return
    with tempfile.TemporaryDirectory() as folder:
        words = [METHODS, "-o", folder, "--set", f"inference.memory_gb={MEMORY_GB}"]
        words += ["--set", "methods=[saliency]", "--set", "inference.batch_size=auto"]
        peak, code = run_and_watch([*words, "--device", str(device), "-q"], device)
    line = Line(
        f"saliency of {METHODS}, memory_gb: {MEMORY_GB:g}", "peak on the GPU", f"{peak:.2f} GB"
    )
    yield replace(line, ratio=peak / MEMORY_GB if code == 0 else None, must=SLACK)


def run_and_watch(words: Sequence[str], device: torch.device) -> tuple[float, int]:
    """Run the CLI in this process; return its peak on the device in GB and its exit code."""
    from esegeta.cli import app

    torch.cuda.reset_peak_memory_stats(device)
    code = 0
    try:
        app(["run", *words])
    except SystemExit as ended:
        code = int(ended.code or 0)
    return torch.cuda.max_memory_allocated(device) / 2**30, code


def gpu_tests(device: torch.device) -> Iterator[Line]:
    """Run the tests that need CUDA."""
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", "tests"]
    start = time.perf_counter()
    code, tail = run_within(words)
    seconds = time.perf_counter() - start
    yield Line(f"pytest -m gpu: {tail}", "exit code", f"{seconds:.0f} s", "", float(code), 0)


def everything(device: torch.device) -> Iterator[Line]:
    """Run every method once, and every score."""
    for config, what, all_names in (
        (METHODS, "method", set(EXPLAINERS)),
        (STUDY, "score", set(SCORES)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-m", "esegeta", "run", config, "-o", folder, "-q"]
            start = time.perf_counter()
            _, tail = run_within([*words, "--device", str(device)])
            seconds = time.perf_counter() - start
            done = finished(Path(folder), what)
        missing = sorted(all_names - done)
        text = f"; not done: {', '.join(missing)} ({tail})" if missing else ""
        row = f"{config}: {len(all_names & done)} of {len(all_names)} {what}s{text}"
        yield Line(row, "not done", f"{seconds:.0f} s", "", float(len(missing)), 0)


def finished(folder: Path, what: str) -> set[str]:
    """Return the methods, or the scores, that a run in a folder has finished."""
    found: set[str] = set()
    if what == "method":
        for path in folder.glob("*/run.json"):
            record = json.loads(path.read_text())
            done = {unit["method"] for unit in record["units"] if unit["status"] == "done"}
            found |= {str(record["methods"].get(one, {}).get("name", one)) for one in done}
        return found
    for path in folder.glob("*/scores.csv"):
        with path.open(newline="") as lines:
            rows = {row["score"] for row in csv.DictReader(lines)}
        for name, score in SCORES.items():
            if any(metric.name in rows for metric in score().metrics):
                found.add(name)
    return found


def run_within(words: Sequence[str]) -> tuple[int, str]:
    """Run a program for a limited time; return its exit code and the last line that it wrote."""
    try:
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return 124, f"stopped after {LONGEST_S} s"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode, lines[-1].strip("= ") if lines else ""


CHECKS: dict[str, Callable[[torch.device], Iterator[Line]]] = {
    "exactness": exactness,
    "throughput": throughput,
    "memory": memory,
    "tests": gpu_tests,
    "everything": everything,
}


def lines_of(name: str, device: torch.device) -> list[Line]:
    """Return the lines of a check; one that fails says why, and the others go on."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        found = list(CHECKS[name](device))
        synchronize(device)
    except Exception as error:
        return [Line(name, f"{type(error).__name__}: {error}", "failed", must=0)]
    return found


def is_met(lines: Sequence[Line]) -> bool:
    return all(line.verdict in ("", "met") for line in lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--device", default="cuda:0", help="cuda:0 unless given")
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    parser.add_argument("names", nargs="*", choices=[*CHECKS, []], help="all checks unless given")
    given = parser.parse_args(words)
    if not torch.cuda.is_available():
        print(
            f"no CUDA device: torch {torch.__version__} finds none here, so nothing was checked\n"
            "run this on a machine with an NVIDIA GPU and a CUDA build of torch",
            file=sys.stderr,
        )
        return NO_DEVICE
    device = torch.device(given.device)
    lines = [line for name in given.names or CHECKS for line in lines_of(name, device)]
    facts = hardware(str(device), torch.get_num_threads())
    show(lines, facts)
    if given.markdown:
        given.markdown.write_text(to_markdown(lines, facts))
    return 0 if is_met(lines) else NOT_MET


if __name__ == "__main__":
    sys.exit(main())
