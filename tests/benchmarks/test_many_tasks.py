"""The study of finished tasks is one that resuming skips whole."""

from benchmarks.many_tasks import measure


def test_finished_tasks_are_counted_gathered_and_skipped() -> None:
    took = measure(60)
    assert took.count == 60
    assert min(took.status_s, took.gather_s, took.resume_s) > 0
