"""`esegeta dissect` as a list of tasks: which there are, and what each of them needs.

Passes over the cases come in stages. A step ends each stage and tells of the next one, so that a
case that fails is named once, and what stands on all cases is not tried without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from esegeta.workflow.cache import finished
from esegeta.workflow.command import Command, Policy
from esegeta.workflow.dissect import ablate, passes, pictures, shares, trail_files
from esegeta.workflow.dissect.ablate import check_ablation
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.results import SUMMARY, summary_task, write_results
from esegeta.workflow.dissect.session import MEMORY_HINT, DissectionSession
from esegeta.workflow.dissect.trail_files import check_trails
from esegeta.workflow.one_result import OneResult, ResultPlan, result_command, run_result
from esegeta.workflow.task import Content, Desk, Kind, Listener, Silence, Task

STAGE = "dissection"
LAST_OF_TRAILS = "trails"
"""The step that ends trails, which the summary needs; only their nodes tell what it needs."""


def first_tasks(desk: Desk) -> Iterator[Task]:
    """Yield the tasks that are known beforehand."""
    session: DissectionSession = desk.job
    dissection = session.dissection
    if (dissection.folder / SUMMARY).is_file():
        desk.note(f"the dissection in {dissection.folder} is replaced once this one is ready")
    num_passes = _num_passes(session)
    first = (num_passes + 1 + passes.has_held_out(session)) * len(session.cases)
    desk.listener.expect(first + _num_foreseen(session) + 1)
    yield from _pass(session, 0, num_passes)


def _num_foreseen(session: DissectionSession) -> int:
    """Return how many tasks stand on results, as far as can be told before there are any."""
    keys, count = session.dissection.keys, len(session.cases)
    trails = 2 * min(count, keys.trails.windows) if keys.trails else 0
    return min(count, keys.figures.images) + (count if keys.ablation else 0) + trails


def _num_passes(session: DissectionSession) -> int:
    if session.shares is None:
        return session.dissection.threshold_search().num_passes
    return shares.new_search(session).num_passes


def _pass(session: DissectionSession, turn: int, num_passes: int) -> list[Task]:
    """Return a pass over the cases for thresholds, and the step that ends it."""
    if session.shares is not None:
        return _shared_pass(session, turn, num_passes)
    record, key = passes.thresholds_file(session), session.thresholds_print
    what = "thresholds" if num_passes == 1 else f"thresholds, pass {turn + 1}"
    cases = [
        _of_case(session, number, what, ADD, record, key, turn=turn)
        for number in range(len(session.cases))
    ]
    kind = THRESHOLDS if turn + 1 == num_passes else END_PASS
    end = _step(what, kind, _names(cases), record, key, turn=turn, num_passes=num_passes)
    return [*cases, end]


def _shared_pass(session: DissectionSession, turn: int, num_passes: int) -> list[Task]:
    """Return the same where several processes share the cases; no case where all is merged."""
    what = f"thresholds, pass {turn + 1} of {num_passes}"
    record = shares.pass_file(session, turn, num_passes)
    key = shares.pass_print(session, turn, num_passes)
    kind = MERGE_LAST if turn + 1 == num_passes else MERGE
    end = _step(what, kind, (), record, key, turn=turn, num_passes=num_passes)
    if finished(end) is not None:
        return [end]
    share_key = shares.share_print(session, turn)
    cases = []
    for number in range(len(session.cases)):
        record = shares.share_file(session, turn, number)
        cases.append(_of_place(session, number, what, TAKE, record, share_key, turn=turn))
    return [*cases, replace(end, needs=tuple(_names(cases)))]


def _after_pass(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    if content is None:
        return [summary_task(desk.job, task.name)]
    return _pass(desk.job, task.data["turn"] + 1, task.data["num_passes"])


def _after_thresholds(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    session: DissectionSession = desk.job
    if content is None:
        return [summary_task(session, task.name)]
    counts = []  # they are added up, whoever counted
    for number, key in enumerate(session.counts_prints):
        record = passes.counts_file(session, number)
        counts.append(_of_place(session, number, "overlaps", COUNT, record, key))
    record = passes.best_thresholds_file(session)
    return [*counts, _step("overlaps", OVERLAPS, _names(counts), record, session.best_print)]


def _after_overlaps(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    session: DissectionSession = desk.job
    if content is None:
        return [summary_task(session, task.name)]
    best = []
    for number in range(len(session.cases) if passes.has_held_out(session) else 0):
        record, key = passes.best_file(session, number), session.best_print
        best.append(_of_place(session, number, "best thresholds", COUNT_BEST, record, key))
    step = _step("held-out overlaps", HELD_OUT, _names(best), *ablate.trials_record(session))
    return [*best, step]


def _after_held_out(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    if content is None:
        return [summary_task(desk.job, task.name)]
    if desk.places is None:
        return [_step("results", RESULTS, [task.name])]
    return _trials(desk.job, content["trials"])  # what several processes share of the rest


def _after_results(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    session: DissectionSession = desk.job
    if content is None:
        return [summary_task(session, task.name)]
    keys = session.dissection.keys
    tasks = _pictures(desk)
    if keys.ablation is not None:
        tasks += _ablation(desk)
    if keys.trails is not None:
        tasks += _samples(desk)
    known = sum(not one.is_step for one in tasks)
    if keys.trails is not None:  # each case that is sampled comes again for its influences
        known += len(trail_files.sampled_cases(desk))
    desk.listener.expect(known - _num_foreseen(session))
    steps = [one.name for one in tasks if one.is_step]
    return [*tasks, summary_task(session, *steps, LAST_OF_TRAILS)]


def _pictures(desk: Desk) -> list[Task]:
    session: DissectionSession = desk.job
    shown = [
        _of_case(session, number, "pictures", PICTURES)
        for number in pictures.chosen_pictures(desk).cases
    ]
    return [_step("bars", BARS), *shown, _step("figures", FIGURES, _names(shown))]


def _ablation(desk: Desk) -> list[Task]:
    tasks = _trials(desk.job, ablate.as_values(ablate.ablation_of(desk).trials))
    return [*tasks, _step("ablation", ABLATION, _names(tasks))]


def _trials(session: DissectionSession, trials: Sequence[Any]) -> list[Task]:
    """Return a task for each case in which units are switched off; none where nothing is asked."""
    key = ablate.key_of(session, trials)
    tasks = [
        _of_place(session, number, "ablation", ABLATE, ablate.record_of(session, number), key)
        for number in range(len(session.cases) if trials else 0)
    ]
    return [replace(task, data={**task.data, "trials": trials}) for task in tasks]


def _samples(desk: Desk) -> list[Task]:
    tasks = _of_trails(desk, "samples", SAMPLE)
    return [*tasks, _step("nodes", NODES, _names(tasks))]


def _after_nodes(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    if content is None:
        return []  # the summary that follows needs these nodes
    tasks = []
    if trail_files.views_of(desk).sources:
        tasks = _of_trails(desk, "influences", INFLUENCE)
    else:
        desk.listener.expect(-len(trail_files.sampled_cases(desk)))
    return [*tasks, _step(LAST_OF_TRAILS, TRAILS, _names(tasks))]


def _of_trails(desk: Desk, what: str, kind: Kind) -> list[Task]:
    session: DissectionSession = desk.job
    key = trail_files.key_of(desk, what)
    return [
        _of_case(
            session,
            number,
            f"trails, {what}",
            kind,
            trail_files.record_of(session, what, number),
            key,
        )
        for number in trail_files.sampled_cases(desk)
    ]


def _of_case(
    session: DissectionSession,
    number: int,
    what: str,
    kind: Kind,
    record: Path | None = None,
    key: str | None = None,
    **data: int,
) -> Task:
    return Task(
        name=f"{session.cases[number].name} / {STAGE} / {what}",
        kind=kind,
        key=key,
        record=record,
        data={"case": number, **data},
    )


def _of_place(
    session: DissectionSession,
    number: int,
    what: str,
    kind: Kind,
    record: Path,
    key: str,
    **data: int,
) -> Task:
    """Return a task of a case whose record any process reads, so that each does its own cases."""
    task = _of_case(session, number, what, kind, record, key, **data)
    return replace(task, place=session.cases[number].name)


def _step(
    name: str,
    kind: Kind,
    needs: Sequence[str] = (),
    record: Path | None = None,
    key: str | None = None,
    **data: int,
) -> Task:
    return Task(
        name=name,
        kind=kind,
        key=key,
        record=record,
        data=data,
        needs=tuple(needs),
        is_step=True,
    )


def _names(tasks: Iterable[Task]) -> list[str]:
    return [task.name for task in tasks]


_kind = partial(Kind, memory_hint=MEMORY_HINT)
ADD = _kind(passes.add_case)
END_PASS = _kind(passes.end_pass, follow=_after_pass)
THRESHOLDS = _kind(passes.keep_thresholds, follow=_after_thresholds)
TAKE = _kind(shares.take_case)
MERGE = _kind(shares.merge_pass, follow=_after_pass)
MERGE_LAST = _kind(shares.merge_pass, follow=_after_thresholds)
COUNT = _kind(passes.count_overlaps)
OVERLAPS = _kind(passes.add_up, follow=_after_overlaps)
COUNT_BEST = _kind(passes.count_best)
HELD_OUT = _kind(ablate.ask_trials, follow=_after_held_out)
RESULTS = _kind(write_results, follow=_after_results)
BARS = _kind(pictures.draw_bars)
PICTURES = _kind(pictures.show_case)
FIGURES = _kind(pictures.draw_figures)
ABLATE = _kind(ablate.ablate_case)
ABLATION = _kind(ablate.write_ablation)
SAMPLE = _kind(trail_files.take_samples)
NODES = _kind(trail_files.form_nodes, follow=_after_nodes)
INFLUENCE = _kind(trail_files.take_influences)
TRAILS = _kind(trail_files.write_trails)


class Dissected(OneResult):
    """How a dissection ended, under the name of its record: summary.json."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Content of summary.json; empty where the dissection did not come to its end."""
        return self.record


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
    listener = listener or Silence()
    plan = _plan(DissectionSession(dissection, listener))
    return Dissected(**vars(run_result(plan, listener, policy)))


def dissection_command(dissection: Dissection, listener: Listener) -> Command:
    """Return a dissection as the engine sees it; see `run_dissection`."""
    return result_command(_plan(DissectionSession(dissection, listener)))


def shared_dissection_command(dissection: Dissection, listener: Listener) -> Command:
    """Return a dissection as several processes see it that share its cases."""
    kept = dissection.folder / "work" / "shares"
    return result_command(_plan(DissectionSession(dissection, listener, kept)))


def _plan(session: DissectionSession) -> ResultPlan:
    dissection = session.dissection
    check_ablation(dissection)
    check_trails(dissection)
    return ResultPlan(
        basis=dissection.basis,
        job=session,
        record=dissection.folder / SUMMARY,
        within=dissection.folder,
        work=session.folder,
        whole=summary_task,
        parts=first_tasks,
        notes=dissection.basis.notes,
    )
