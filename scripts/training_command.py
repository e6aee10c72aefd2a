"""The command line of the scripts that train the networks in data_samples/models/."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

SAMPLES = Path(__file__).resolve().parent.parent / "data_samples"
MODELS = SAMPLES / "models"


@dataclass(frozen=True)
class TrainingOptions:
    """What is asked of a script that trains networks.

    Args:
        models: names of those to train.
        iterations: fewer than usual, to try the script out; None for the usual number.
        out: folder to write to.
    """

    models: Sequence[str]
    iterations: int | None
    out: Path

    def list_in_readme(self) -> None:
        """Bring the README of the samples up to date, where the shipped networks were replaced.

        It lists the sha256 of the weights and the cards.
        """
        if self.out == MODELS:
            make_samples = Path(__file__).with_name("make_samples.py")
            subprocess.run([sys.executable, make_samples, "--readme"], check=True)


def read_options(about: str | None, known: Collection[str]) -> TrainingOptions:
    """Read the command line, and let torch use the threads that it asks for.

    Args:
        about: docstring of the script.
        known: names of the networks that it trains; all of them by default.
    """
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"from {', '.join(known)}")
    parser.add_argument("--iterations", type=int, help="fewer, to try the script out")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (%(default)s)")
    parser.add_argument("--out", type=Path, default=MODELS, help="where to write (%(default)s)")
    options = parser.parse_args()
    if options.iterations and options.out == MODELS:
        parser.error("--iterations needs --out: a trial must not replace the shipped models")
    unknown = set(options.models) - set(known)
    if unknown:
        parser.error(f"unknown model: {', '.join(sorted(unknown))}")
    torch.set_num_threads(options.threads)
    return TrainingOptions(options.models or list(known), options.iterations, options.out)
