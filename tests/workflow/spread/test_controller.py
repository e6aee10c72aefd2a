"""What the controller makes of workers that die, fail or do not see its folder; no cluster yet."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from esegeta.errors import OutputError
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.origin import Origin
from esegeta.workflow.spread.own_journal import OwnJournal
from tests.workflow.tasks import number_task

distributed = pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.slow  # Dask takes a second to import

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


def leave_journal(root: Path, pid: int, *names: int) -> None:
    from esegeta.workflow.spread.distant import journal_name

    path = SharedFolder(root, "run").journal(journal_name(ADDRESS, pid))
    with OwnJournal(path, name="worker 1", address=ADDRESS) as journal:
        journal.begin([number_task(root, number) for number in names])


def test_what_a_dead_worker_was_at_is_counted_once(tmp_path: Path) -> None:
    found = hands(tmp_path)
    leave_journal(tmp_path, 1, 5)
    assert found._is_to_be_done_again("a", killed())
    assert dict(found._deaths) == {"number 5": 1}
    leave_journal(tmp_path, 2, 5)  # another process at the same address
    assert found._is_to_be_done_again("a", killed())
    assert dict(found._deaths) == {"number 5": 2}


def test_a_place_whose_workers_never_begin_is_given_up(tmp_path: Path) -> None:
    from esegeta.workflow.spread.controller import MOST_LOSSES

    found = hands(tmp_path)
    for _ in range(MOST_LOSSES - 1):
        assert found._is_to_be_done_again("a", killed())
    with pytest.raises(OutputError, match="died before they began anything of it"):
        found._is_to_be_done_again("a", killed())


def test_a_disk_that_is_full_on_one_worker_is_another_workers_chance(tmp_path: Path) -> None:
    from esegeta.workflow.spread.controller import MOST_LOSSES

    found, full = hands(tmp_path), failed_with(OutputError("cannot write here", hint="free space"))
    for _ in range(MOST_LOSSES - 1):
        assert found._is_to_be_done_again("a", full)
    with pytest.raises(OutputError, match="cannot write here"):
        found._is_to_be_done_again("a", full)


def test_a_worker_whose_disk_is_full_is_let_go_unless_none_is_left(tmp_path: Path) -> None:
    from esegeta.workflow.spread.distant import WorkerReply

    found = hands(tmp_path)
    answer = WorkerReply(full=("cannot write any more", "free space"), worker=ADDRESS)
    future = SimpleNamespace(status="finished", result=lambda: answer, release=lambda: None)
    found.client.nthreads.side_effect = [{ADDRESS: 1, "tls://other": 1}, {"tls://other": 1}]
    assert found._is_to_be_done_again("a", future)
    found.client.retire_workers.assert_called_once_with([ADDRESS])
    found.client.nthreads.side_effect = [{ADDRESS: 1}, {}]
    with pytest.raises(OutputError, match="cannot write any more"):
        found._is_to_be_done_again("a", future)


def test_a_worker_that_keeps_its_last_answer_is_asked_again_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the only other worker has just been cancelled, nobody can take the answer."""
    from esegeta.workflow.spread import controller

    monkeypatch.setattr(controller, "LOOK_S", 0.0)
    found = hands(tmp_path)
    found.client.nthreads.side_effect = [{ADDRESS: 1}, {ADDRESS: 1}, {"tls://new": 1}]
    found._send_away(ADDRESS, OutputError("cannot write any more", hint="free space"))
    assert found.client.retire_workers.call_count == 2


def test_a_bug_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        hands(tmp_path)._is_to_be_done_again("a", failed_with(ZeroDivisionError()))


def test_a_worker_that_does_not_see_the_folder_says_where_it_is(tmp_path: Path) -> None:
    from esegeta.workflow.spread.distant import _require_seen

    found = hands(tmp_path)
    with pytest.raises(OutputError, match="does not see this folder"):
        _require_seen(found.folder, found.order)
    found.folder.path.mkdir(parents=True)
    (found.folder.path / "run-id").write_text("run-1")
    _require_seen(found.folder, found.order)
