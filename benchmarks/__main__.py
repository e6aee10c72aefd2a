"""Measure esegeta, and print a table.

    python -m benchmarks [NAME ...] [--quick] [--repeat 2] [--markdown FILE]

Without names, all rows but the demo run. Ratios are within one run: with `--repeat` the two sides
of a row take turns, the fastest run and the largest peak of each count. Of the libraries, the
network and the input, which both sides hold before they start, nothing is subtracted unless a
line says "above base".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from benchmarks import (
    dissection_rows,
    equality_rows,
    example_rows,
    label_rows,
    map_rows,
    picture_rows,
    program_rows,
    score_rows,
    similarity_rows,
)
from benchmarks.run import BenchmarkRun
from benchmarks.table import Line, hardware, show, to_markdown


def click(bench: BenchmarkRun) -> Iterator[Line]:
    # Its packages are an extra, which no other row needs.
    from benchmarks import view_rows

    yield from view_rows.click(bench)


def workers(bench: BenchmarkRun) -> Iterator[Line]:
    # As above.
    from benchmarks import cluster_rows

    yield from cluster_rows.workers(bench)


ROWS: dict[str, Callable[[BenchmarkRun], Iterator[Line]]] = {
    "saliency_local": map_rows.saliency_local,
    "saliency_everywhere": map_rows.saliency_everywhere,
    "three_targets": map_rows.three_targets,
    "integrated_gradients": map_rows.integrated_gradients,
    "overhead": map_rows.overhead,
    "nnunet": map_rows.nnunet,
    "parts": map_rows.parts,
    "ten_methods": map_rows.ten_methods,
    "flat_memory": map_rows.flat_memory,
    "occlusion": map_rows.occlusion,
    "feature_ablation": map_rows.feature_ablation,
    "kernel_shap": map_rows.kernel_shap,
    "method_memory": map_rows.method_memory,
    "many_labels": label_rows.many_labels,
    "many_labels_large": label_rows.many_labels_large,
    "two_labels": label_rows.two_labels,
    "curve": score_rows.curve,
    "sensitivity": score_rows.sensitivity,
    "score_memory": score_rows.score_memory,
    "dissection": dissection_rows.dissection,
    "similarity": similarity_rows.similarity,
    "pictures": picture_rows.pictures,
    "examples": example_rows.examples,
    "tcav": dissection_rows.tcav,
    "view": click,
    "equal_nnunet": equality_rows.nnunet,
    "equal_bundle": equality_rows.bundle,
    "equal_kinds": equality_rows.kinds,
    "equal_formats": equality_rows.formats,
    "help": program_rows.help_time,
    "resume": program_rows.resume,
    "workers": workers,
    "demo": program_rows.demo,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").split("\n")[0],
        epilog=f"Names: {', '.join(ROWS)}.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=row_name,
        metavar="NAME",
        help="rows to measure; all but demo unless given",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of torch on the CPU")
    parser.add_argument("--batch-size", type=int, default=1, help="windows at a time, both sides")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small sizes, for trying out")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table there")
    return parser.parse_args()


def row_name(text: str) -> str:
    if text in ROWS:
        return text
    near = get_close_matches(text, ROWS, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise argparse.ArgumentTypeError(f'no benchmark is called "{text}"{hint}')


def main() -> None:
    options = parse()
    names = options.names or [name for name in ROWS if name != "demo"]
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = BenchmarkRun(
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
