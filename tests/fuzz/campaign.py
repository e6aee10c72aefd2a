"""A campaign: so many inputs of a seed, each in a folder of its own, judged one by one."""

from __future__ import annotations

import copy
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.experiments import Lab
from tests.fuzz.contract import Verdict, judge
from tests.fuzz.inputs import FAMILIES, family_of, template

EVIL = Path("/tmp/esegeta-fuzz-was-here")


@dataclass(frozen=True)
class Found:
    """An input that broke the contract: `scripts/fuzz --only SEED:NUMBER` runs it again."""

    seed: int
    number: int
    family: str
    command: list[str]
    verdict: Verdict

    def __str__(self) -> str:
        what = " ".join(self.command)[:300]
        return f"{self.seed}:{self.number} ({self.family}): {what}\n{self.verdict.fault[-1500:]}"


def run_one(seed: int, number: int, base: Lab, folder: Path) -> tuple[str, list[str], Verdict]:
    """Judge one input; its folder is removed again."""
    random = Random(f"{seed}:{number}")
    family = family_of(random)
    folder.mkdir()
    for path in base.folder.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    keys = copy.deepcopy(base.keys)
    keys["output"] = str(folder / "out")
    with _working_in(folder):
        command = FAMILIES[family][0](Lab(folder, keys), random)
        verdict = judge(command, folder)
    if EVIL.exists():
        EVIL.unlink()
        verdict = Verdict(verdict.exit_code, "code in the weights was run", verdict.said)
    shutil.rmtree(folder, ignore_errors=True)
    return family, command, verdict


def run_campaign(
    seed: int, numbers: range, folder: Path
) -> tuple[list[Found], Counter[tuple[str, int | None]]]:
    """Judge inputs; return those that broke the contract, and how many ended how, by family."""
    (folder / "base").mkdir()
    base = template(folder / "base")
    found, ends = [], Counter[tuple[str, int | None]]()
    for number in numbers:
        family, command, verdict = run_one(seed, number, base, folder / str(number))
        ends[family, verdict.exit_code] += 1
        if verdict.fault:
            found.append(Found(seed, number, family, command, verdict))
    return found, ends


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Be in a folder: an output without a folder of its own must not land in the checkout."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
