"""Runs small seeded experiments through the command line, and compares what two such runs left.

python -m tests.golden.yardstick make OUT [--checkout DIR] [--only TEXT]
python -m tests.golden.yardstick compare A B [--except PATTERN]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from tests.golden.canonical import canonical
from tests.golden.data import write_data
from tests.golden.difference import RECORD, differences, write_record
from tests.golden.experiments import COMMANDS, write_configs

HERE = Path(__file__).resolve().parents[2]
ENTRY = "from esegeta.cli import main; main()"
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def make(out: Path, checkout: Path = HERE, only: str = "") -> dict[str, int]:
    """Run the experiments on a checkout, write `golden.json`, and return the exit codes.

    Args:
        out: a new folder, or one of an earlier make, which is replaced. Data, configs and
            results go to `out/lab`, what was said to `out/logs`.
        checkout: whose package is run.
        only: run only commands that contain this text.

    Raises:
        SystemExit: `out` holds something else, or another package would be run.
    """
    if out.exists() and any(out.iterdir()) and not (out / "lab").is_dir():
        sys.exit(f"{out} holds something else: name a new folder")
    _check_package(checkout)
    for name in ("lab", "logs"):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
    (out / RECORD).unlink(missing_ok=True)
    lab = out / "lab"
    torch.set_num_threads(1)
    write_data(lab)
    write_configs(lab)
    exits = {}
    for place, command in enumerate(COMMANDS):
        line = " ".join(command)
        if only in line:
            start = time.perf_counter()
            log = out / "logs" / f"{place:02d}_{command[0]}.txt"
            exits[f"{place} {line}"] = code = _run(command, lab, checkout, log)
            print(f"{time.perf_counter() - start:6.1f} s  exit {code}  {line}", flush=True)
    files = canonical(lab / "results")
    contents = {f"results/{name}": content for name, content in files.items()}
    write_record(out, contents, exits, is_part=bool(only))
    print(f"{len(files)} files in {out / RECORD}")
    return exits


def _check_package(checkout: Path) -> None:
    """Refuse to go on where Python would import the package from elsewhere."""
    code = "import esegeta; print(esegeta.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout.resolve().parent,
        env=_environment(checkout),
        capture_output=True,
        text=True,
        check=False,
    )
    found = done.stdout.strip()
    if not Path(found).is_relative_to(checkout.resolve()):
        sys.exit(f"{checkout} holds no package esegeta: Python found {found or done.stderr}")


def _run(command: list[str], lab: Path, checkout: Path, log: Path) -> int:
    """Run one command in a process of its own, on one thread, and return its exit code."""
    with log.open("w", encoding="utf-8") as stream:
        return subprocess.run(
            [sys.executable, "-c", ENTRY, *command],
            cwd=lab,
            env=_environment(checkout),
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode


def _environment(checkout: Path) -> dict[str, str]:
    """Return an environment in which floats are added up in one order, on the CPU."""
    return {
        **os.environ,
        **dict.fromkeys(ONE_THREAD, "1"),
        "PYTHONPATH": str(checkout.resolve()),
        "PYTHONHASHSEED": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "agg",
        "COLUMNS": "120",
    }


def compare(first: Path, second: Path, excepted: list[str]) -> int:
    """Print what differs between two yardsticks, and return 1 if anything does."""
    count = 0
    for line in differences(first, second, excepted):
        print(line)
        count += 1
    print(f"{count} differences" if count else "the same, bit for bit")
    return int(count > 0)


def main() -> int:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.yardstick", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="run the experiments and write OUT/golden.json")
    making.add_argument("out", type=Path)
    making.add_argument("--checkout", type=Path, default=HERE, help="whose package is run")
    making.add_argument("--only", default="", help="run only commands that contain this text")
    comparing = commands.add_parser("compare", help="tell what differs; exit code 1 if anything")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument(
        "--except",
        dest="excepted",
        action="append",
        default=[],
        metavar="PATTERN",
        help="files that may differ, or lines of files: 'results/*.json::\"unit\"'; repeatable",
    )
    options = parser.parse_args()
    if options.command == "make":
        make(options.out, options.checkout, options.only)
        return 0
    return compare(options.first, options.second, options.excepted)


if __name__ == "__main__":
    sys.exit(main())
