"""Workers of a scheduler that is there already: what is done by them, and what of their faults."""

from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta, noise, save_image
from tests.workflow.dissect.planted import noisy_lab
from tests.workflow.spread.faulty import SHAPE, alone, assert_same_results, faulty_lab, journals

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

import distributed

from tests.workflow.spread import fake_dask
from tests.workflow.spread.fake_dask import FakeClient, client, closed_workers

__all__ = ["client"]

AN_ADDRESS = {"address": "tcp://node7:8786"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Three cases for the workers of an address."""
    made = faulty_lab(tmp_path, cases=3, pause_s=0.0)
    made.keys["scores"] = []
    made.keys["cluster"] = AN_ADDRESS
    return made


def test_a_worker_that_joins_late_gives_the_results_of_one_process(lab: Lab) -> None:
    """This is Dask itself, in this process."""
    one = alone(lab)
    with (
        closed_workers(),
        distributed.LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            dashboard_address=":0",
            silence_logs="CRITICAL",
        ) as cluster,
    ):
        cluster.adapt(minimum=0, maximum=1, interval="20ms")
        lab.keys["cluster"] = {"address": cluster.scheduler_address}
        result = lab.run()
    assert result.exit_code == 0, result.output
    assert f"no worker is connected to {cluster.scheduler_address} yet" in result.output
    assert "3 done, 0 skipped, 0 failed" in result.stdout
    assert_same_results(lab, one)
    (journal,) = journals(lab)
    assert journal.state == "complete"


@pytest.mark.parametrize("fate", [fake_dask.killed, fake_dask.lost])
@pytest.mark.slow
def test_tasks_of_a_lost_worker_are_handed_to_another(
    lab: Lab, client: FakeClient, fate: fake_dask.Fate
) -> None:
    client.fates = [fake_dask.done, fate]
    result = lab.run()
    assert result.exit_code == 0, result.output
    assert "3 done, 0 skipped, 0 failed" in result.stdout
    assert client.handed_out == [["a"], ["b"], ["c"], ["b"]]


@pytest.mark.slow
def test_a_bug_in_a_worker_is_shown_and_finished_results_are_kept(
    lab: Lab, client: FakeClient
) -> None:
    client.fates = [fake_dask.done, fake_dask.stumbles]
    with pytest.raises(ZeroDivisionError):
        lab.run()
    assert lab.record()["state"] == "stopped"
    assert lab.statuses()["a", "liver", "saliency"] == "done"


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_folder_ends_the_run(lab: Lab, client: FakeClient) -> None:
    client.fates = [fake_dask.elsewhere]
    result = lab.run()
    assert result.exit_code == 2
    assert f"{lab.root}: the worker on " in result.stderr
    assert "does not see this folder" in result.stderr
    assert "on a disk that all machines share" in " ".join(result.stderr.split())
    assert lab.record()["state"] == "stopped"


@pytest.mark.slow
def test_pending_tasks_are_cancelled_at_the_first_failure(lab: Lab, client: FakeClient) -> None:
    save_image(lab.folder / "a.nii.gz", -1 - abs(noise(SHAPE)))  # there is no liver in it
    client.fates = [fake_dask.done, fake_dask.done, fake_dask.never]
    result = lab.run("--fail-fast")
    assert result.exit_code == 1
    assert "1 done, 0 skipped, 1 failed" in result.stdout
    assert "pending" in [future.status for future in client.cancelled]
    assert lab.record()["state"] == "incomplete"


@pytest.mark.slow
def test_finished_tasks_are_handed_out_only_with_overwrite(lab: Lab, client: FakeClient) -> None:
    del lab.keys["data"]["cases"][2:]
    assert lab.run().exit_code == 0
    before = lab.maps()
    client.handed_out.clear()
    client.plugins.clear()
    assert "0 done, 2 skipped" in lab.run().stdout
    assert client.handed_out == client.plugins == [], "nobody is asked to be there"
    assert lab.maps() == before
    assert "2 done, 0 skipped" in lab.run("--overwrite").stdout
    assert client.handed_out == [["a"], ["b"]]


@pytest.mark.slow
def test_a_dissection_is_handed_out_in_rounds_and_again_with_overwrite(
    tmp_path: Path, client: FakeClient
) -> None:
    lab = noisy_lab(tmp_path, cases=1, shape=(8, 8, 8))
    lab.keys["cluster"] = AN_ADDRESS
    words = ("dissect", lab.write())
    assert esegeta(*words).exit_code == 0
    assert client.handed_out == [["a"], ["a"]], "thresholds first, overlaps once all have them"
    summary = lab.root / "dissection" / "summary.json"
    before = summary.stat().st_mtime_ns
    assert esegeta(*words, "--overwrite").exit_code == 0
    assert client.handed_out == 4 * [["a"]]
    assert summary.stat().st_mtime_ns > before
