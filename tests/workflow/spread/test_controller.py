"""What the controller makes of workers that die, fail or do not see its folder; no cluster yet."""

import pickle
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from esegeta.errors import OutputError
from esegeta.workflow.command import Policy
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.origin import Origin
from esegeta.workflow.spread.own_journal import OwnJournal
from esegeta.workflow.spread.parts import Lot
from esegeta.workflow.task import Ended
from tests.workflow.tasks import number_task

distributed = pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

ADDRESS = "tls://10.0.0.7:4711"


def hands(root: Path) -> Any:
    from esegeta.workflow.spread.controller import Hands
    from esegeta.workflow.spread.distant import Order

    order = Order("run-1", Origin("run", "config.yaml"), str(root), str(root))
    return Hands(Mock(spec=distributed.Client), order, SharedFolder(root, "run"))


def failed_with(error: Exception) -> Any:
    return SimpleNamespace(status="error", exception=lambda: error)


def killed() -> Any:
    from distributed.scheduler import KilledWorker

    return failed_with(KilledWorker("key", SimpleNamespace(address=ADDRESS), 0))


def leave_journal(root: Path, pid: int, *names: int, done: Collection[int] = ()) -> None:
    from esegeta.workflow.spread.distant import journal_name

    path = SharedFolder(root, "run").journal(journal_name(ADDRESS, pid))
    with OwnJournal(path, name="worker 1", address=ADDRESS) as journal:
        for number in done:
            journal.append(Ended(number_task(root, number), "done"))
        journal.begin([number_task(root, number) for number in names])


def test_a_task_that_a_dead_worker_had_begun_counts_one_death(tmp_path: Path) -> None:
    found = hands(tmp_path)
    leave_journal(tmp_path, 1, 5)
    assert found._is_to_be_done_again("a", killed())
    assert dict(found._deaths) == {"number 5": 1}
    leave_journal(tmp_path, 2, 5)  # another process at the same address
    assert found._is_to_be_done_again("a", killed())
    assert dict(found._deaths) == {"number 5": 2}


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_a_dead_worker_has_redone_is_told_to_the_next(tmp_path: Path, overwrite: bool) -> None:
    found = hands(tmp_path)
    found.order = replace(found.order, policy=Policy(overwrite=overwrite))
    leave_journal(tmp_path, 1, 5, done=(3, 4))
    assert found._is_to_be_done_again("a", killed())
    found._submit(Lot("a", cost=1.0))
    (_, _, names, deaths, done), _ = found.client.submit.call_args
    assert (names, deaths) == (["a"], {"number 5": 1})
    assert done == (["number 3", "number 4"] if overwrite else [])


def test_a_place_whose_workers_die_before_any_task_is_given_up(tmp_path: Path) -> None:
    from esegeta.workflow.spread.controller import MOST_LOSSES

    found = hands(tmp_path)
    for _ in range(MOST_LOSSES - 1):
        assert found._is_to_be_done_again("a", killed())
    with pytest.raises(OutputError, match="died before starting any of its tasks"):
        found._is_to_be_done_again("a", killed())


def full(worker: str = ADDRESS) -> Any:
    from esegeta.workflow.spread.distant import NoRoomError

    return failed_with(NoRoomError("cannot write any more", hint="free space", worker=worker))


def succeeded() -> Any:
    from esegeta.workflow.spread.distant import WorkerReply

    return SimpleNamespace(status="finished", result=WorkerReply, release=lambda: None)


def test_a_worker_with_a_full_disk_is_retired_unless_it_is_the_last(tmp_path: Path) -> None:
    found = hands(tmp_path)
    found.client.nthreads.side_effect = [{ADDRESS: 1, "tls://other": 1}, {"tls://other": 1}]
    assert found._is_to_be_done_again("a", full())
    found.client.retire_workers.assert_called_once_with([ADDRESS])
    found.client.nthreads.side_effect = [{"tls://other": 1}, {}]
    with pytest.raises(OutputError, match="cannot write any more"):
        found._is_to_be_done_again("a", full("tls://other"))


def test_a_worker_that_is_still_retiring_counts_as_gone(tmp_path: Path) -> None:
    """A worker that holds the last result, with no other to pass it to, stays for a while."""
    found = hands(tmp_path)
    found.client.nthreads.return_value = {ADDRESS: 1}
    with pytest.raises(OutputError, match="cannot write any more"):
        found._is_to_be_done_again("a", full())


@pytest.mark.slow
def test_full_disks_in_a_row_end_a_run_though_more_workers_come(
    tmp_path: Path,
) -> None:
    """A cancelled job leaves nobody for a moment, which is no reason to end; full disks are."""
    from esegeta.workflow.spread.controller import MOST_FULL

    found = hands(tmp_path)
    found.supply = Mock(brings_more=True)
    found.client.nthreads.return_value = {}
    for number in range(MOST_FULL - 1):
        assert found._is_to_be_done_again("a", full(f"tls://{number}"))
        assert found._is_to_be_done_again("a", full(f"tls://{number}")), "it is the same one"
    assert not found._is_to_be_done_again("a", succeeded())
    for number in range(MOST_FULL - 1):
        assert found._is_to_be_done_again("a", full(f"tls://{number}"))
    with pytest.raises(OutputError, match="cannot write any more"):
        found._is_to_be_done_again("a", full("tls://last"))


def test_a_run_ends_when_every_new_worker_has_a_full_disk(tmp_path: Path) -> None:
    from esegeta.workflow.spread.controller import MOST_FULL

    found = hands(tmp_path)
    found.supply = Mock(brings_more=True)
    found.client.nthreads.return_value = {"tls://other": 1}
    for number in range(found.num_workers + MOST_FULL - 1):
        assert found._is_to_be_done_again("a", full(f"tls://{number}"))
    with pytest.raises(OutputError, match="cannot write any more"):
        found._is_to_be_done_again("a", full("tls://last"))


def test_an_error_of_a_full_disk_survives_pickling() -> None:
    from esegeta.workflow.spread.distant import NoRoomError

    told = pickle.loads(pickle.dumps(NoRoomError("full", hint="free space", worker=ADDRESS)))
    assert (told.message, told.hint, told.worker) == ("full", "free space", ADDRESS)


def test_a_bug_in_a_worker_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        hands(tmp_path)._is_to_be_done_again("a", failed_with(ZeroDivisionError()))


def test_a_worker_that_does_not_see_the_folder_is_refused(tmp_path: Path) -> None:
    from esegeta.workflow.spread.distant import _require_seen

    found = hands(tmp_path)
    with pytest.raises(OutputError, match="does not see this folder"):
        _require_seen(found.folder, found.order)
    found.folder.path.mkdir(parents=True)
    (found.folder.path / "run-id").write_text("run-1")
    _require_seen(found.folder, found.order)
