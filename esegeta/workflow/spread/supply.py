"""Whether workers are still to come: jobs that end before theirs has come are replaced.

Dask waits for a worker until it comes. A job whose log cannot be opened, whose node has no such
Python or whose port is shut ends without a word to the controller, and is asked after here.
"""

from __future__ import annotations

import getpass
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from esegeta.errors import OutputError
from esegeta.workflow.spread.job_logs import last_words, logs_of

LISTINGS: Mapping[str, tuple[str, ...]] = {
    "slurm": ("squeue", "--noheader", "--format=%A", "--user"),
    "pbs": ("qselect", "-u"),
    "sge": ("qstat", "-u"),
    "lsf": ("bjobs", "-noheader", "-o", "jobid", "-u"),
    "htcondor": ("condor_q", "-autoformat", "ClusterId", "-constraint"),
}
"""Programs that list the jobs of a user, whose name comes last."""

NOTHING_LISTED = ("no unfinished job", "no matching job")
"""What some of them say, as an error, where no job is left."""

SGE_STATE = 4
"""Its column in what `qstat` prints."""

PATIENCE_S = 30
"""How long a batch system may take to answer."""

SHORTEST_S, LONGEST_S = 5.0, 60.0
"""How often it is asked: twice as seldom each time that nothing new is seen."""

MOST_AT_FIRST, MOST_IN_A_ROW = 3, 10
"""Jobs that end without a worker before it is given up: where none ever came, and later."""


def listed_jobs(kind: str) -> set[str] | None:
    """Return the numbers of the user's jobs that have not ended; None where nobody can tell."""
    user = getpass.getuser()
    last = f'Owner == "{user}"' if kind == "htcondor" else user
    try:
        found = subprocess.run(
            [*LISTINGS[kind], last], capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if found.returncode and not any(words in found.stderr.lower() for words in NOTHING_LISTED):
        return None
    lines = [line for line in found.stdout.splitlines() if not (kind == "sge" and _is_stuck(line))]
    return {number_of(line) for line in lines} - {""}


def _is_stuck(line: str) -> bool:
    """Tell whether SGE keeps a job that has failed to start, which it lists in state Eqw."""
    columns = line.split()
    return len(columns) > SGE_STATE and columns[SGE_STATE].startswith("E")


def number_of(job: str) -> str:
    """Return the number that a job's name begins with, such as 12 of `12.server`; "" for none."""
    found = re.match(r"\s*(\d+)", job)
    return found[1] if found else ""


@dataclass(eq=False)
class BatchSupply:
    """Asks after the jobs of a batch system, and has lost ones replaced.

    Args:
        cluster: Dask's, of jobs.
        logs: where jobs leave their logs.
        listed: returns the numbers of jobs that have not ended, or None.
        clock: tells seconds.
    """

    brings_more: ClassVar = True
    """Whether others come in the place of workers that are let go."""

    cluster: Any
    logs: Path
    listed: Callable[[], set[str] | None]
    clock: Callable[[], float] = time.monotonic
    _arrived: set[str] = field(default_factory=set)
    _missed: set[str] = field(default_factory=set)
    _barren: list[str] = field(default_factory=list)
    _refusal: str = ""
    _pause_s: float = SHORTEST_S
    _last: float = field(default=-float("inf"))

    def look(self) -> None:
        """Replace jobs that have ended and have no worker, unless that has been in vain too often.

        Raises:
            OutputError: one after the other ended before its worker had come, and none is there.
        """
        now = self.clock()
        if now - self._last < self._pause_s:
            return
        self._last = now
        there = {str(name): job for name, job in dict(self.cluster.workers).items()}
        jobs = {name: str(job.job_id) for name, job in there.items()}
        refused = {name: job.refusal for name, job in there.items() if job.refusal}
        here = self._at_hand(jobs)
        if here - self._arrived:
            self._arrived |= here
            self._barren.clear()
        without = {name for name in jobs.keys() - here if number_of(jobs[name])}
        listed = self.listed() if without else None
        gone = set() if listed is None else {n for n in without if number_of(jobs[n]) not in listed}
        lost, self._missed = gone & self._missed, gone - self._missed  # seen to be gone twice
        self._pause_s = SHORTEST_S if gone or refused else min(2 * self._pause_s, LONGEST_S)
        self._barren += sorted(jobs[name] for name in lost - self._arrived)
        self._barren += ["" for _ in refused]  # they have no number
        self._refusal = next(iter(refused.values()), self._refusal)
        lost |= refused.keys()
        most = MOST_IN_A_ROW if self._arrived else MOST_AT_FIRST
        if len(self._barren) >= most:
            if not here:
                raise self._given_up()
            return  # those that work go on without further ones
        if lost:
            self.cluster.sync(self._forget, lost)

    def _at_hand(self, jobs: Collection[str]) -> set[str]:
        """Return the jobs that have a worker; one of several workers is called `job-number`."""
        workers = dict(self.cluster.scheduler_info["workers"]).values()
        names = {str(worker["name"]) for worker in workers}
        names |= {name.rpartition("-")[0] for name in names}
        return names & set(jobs)

    async def _forget(self, names: Collection[str]) -> None:
        """Have Dask forget jobs, which then submits others in their place."""
        for name in names:
            job = self.cluster.workers.pop(name, None)
            self.cluster.worker_spec.pop(name, None)
            if job is not None:
                await job.close()

    def _given_up(self) -> OutputError:
        number = self._barren[-1]
        if not number:
            return OutputError(
                f"the batch system refused jobs until none was left: {self._refusal}",
                hint="run the same command again once it takes jobs, or change the keys of "
                "`cluster`; what is finished is kept",
            )
        logs = logs_of(self.logs, number_of(number))
        told = last_words(logs)
        if told is not None:
            said = f"{told[0]} ends with: {told[1]}"
        elif logs:
            said = f"job {number} printed nothing into {logs[0]}"
        else:
            said = f"job {number} left no log in {self.logs}"
        return OutputError(
            f"{len(self._barren)} jobs ended before any of their workers connected; {said}",
            hint="does every node see this folder (if not, give one on a shared disk with "
            f"`output:` or -o), does it have {sys.executable}, do the lines of cluster.prologue "
            "run there, and can it reach this machine's ports?",
        )


@dataclass(frozen=True, eq=False)
class AllocationSupply:
    """Looks whether the tasks of an allocation are there.

    Args:
        process: srun, which starts a worker a task and ends with the last of them.
        logs: where they leave their logs.
    """

    brings_more: ClassVar = False

    process: subprocess.Popen[bytes]
    logs: Path

    def look(self) -> None:
        """Do nothing while they are there.

        Raises:
            OutputError: srun has ended, and its workers with it.
        """
        if self.process.poll() is not None:
            raise OutputError(
                f"srun ended with exit code {self.process.returncode} before all tasks were done",
                hint=f"see its output above, and the logs of its workers in {self.logs}",
            )


@dataclass(frozen=True, eq=False)
class SchedulerSupply:
    """Looks whether somebody else's scheduler is there; its workers are not ours to start.

    Args:
        client: of the scheduler; closed once it could not be reached again.
        address: where it is.
    """

    brings_more: ClassVar = False

    client: Any
    address: str

    def look(self) -> None:
        """Do nothing while it is there.

        Raises:
            OutputError: it has gone.
        """
        if self.client.status in ("closing", "closed"):
            raise OutputError(
                f"the Dask scheduler at {self.address} stopped before all tasks were done",
                hint="start it again and run the same command: what is finished is kept",
            )


class EndlessSupply:
    """Workers that are started again by themselves where they die, not where they are let go."""

    brings_more: ClassVar = False

    def look(self) -> None:
        """Do nothing."""
