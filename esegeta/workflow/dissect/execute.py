"""Run a dissection from its first pass to its last file; resume where it was left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from esegeta.report import read_sidecar
from esegeta.workflow.dissect.ablate import check_ablation
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.results import SUMMARY
from esegeta.workflow.dissect.session import Session
from esegeta.workflow.dissect.tasks import list_anew, list_tasks
from esegeta.workflow.dissect.trail_files import check_trails
from esegeta.workflow.engine import Command, Policy, run_command
from esegeta.workflow.listener import (
    EXIT_OK,
    EXIT_SOME_FAILED,
    EXIT_USER,
    Listener,
    Outcome,
    Silence,
)
from esegeta.workflow.task import Ended


@dataclass(frozen=True)
class Dissected:
    """How a dissection ended.

    Args:
        outcome: how its tasks ended, the summary last.
        summary: as it stands in summary.json; empty where the dissection did not come to its end.
    """

    outcome: Outcome
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def skipped(self) -> bool:
        """Whether it was finished before and nothing was done."""
        return all(ended.status == "skipped" for ended in self.outcome.results)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.outcome.seconds

    @property
    def exit_code(self) -> int:
        """0 when it is finished; 2 when what the user gave kept it from that; else 1.

        A dissection is one result: a part of its passes is of no use by itself.
        """
        failures = self.outcome.failures
        if not failures:
            return EXIT_OK
        is_bug = any(ended.is_bug for ended in failures)
        return EXIT_SOME_FAILED if is_bug else EXIT_USER


def run_dissection(
    dissection: Dissection, listener: Listener | None = None, policy: Policy | None = None
) -> Dissected:
    """Dissect, and write tables, figures, masks and, last of all, the summary.

    What an earlier run of the same dissection has finished is not done again: all of it where the
    summary is there and matches, else the passes over cases that are kept.

    Raises:
        LayerError: a layer returns more than one tensor, so that its units cannot be switched off.
        ConfigError: what trails need does not fit into the memory that is allowed.
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM; what is done is kept.
    """
    check_ablation(dissection)
    check_trails(dissection)
    listener, policy = listener or Silence(), policy or Policy()
    command = Command(
        root=dissection.basis.root,
        folder=dissection.folder,
        job=Session(dissection, listener),
        tasks=list_anew if policy.overwrite else list_tasks,
        num_tasks=0,  # told when it is known whether there is anything to do
        write=_write_nothing,
        notes=dissection.basis.notes,
    )
    outcome = run_command(command, listener, policy)
    if outcome.failures:
        return Dissected(outcome)
    return Dissected(outcome, read_sidecar(dissection.folder / SUMMARY) or {})


def _write_nothing(results: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
    """Leave tables to tasks: before all cases are counted there is nothing to tell."""
