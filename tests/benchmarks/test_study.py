"""The reckoning of a large study, by hand."""

from benchmarks.study import METHODS, Study, lines


def test_passes_hours_storage_and_files_by_hand() -> None:
    study = Study(100, 2, 4, (96, 96, 48), 48, 0.5, 10**6, 0.5)
    assert study.num_windows == 3 * 3 * 1
    active = 4  # of nine windows half are touched, to even
    assert study.passes("saliency") == (active, 2 * active)  # targets share the way there
    assert study.passes("grad_cam")[1] == 2 * active
    forward = sum(study.passes(name)[0] for name in METHODS) + 9
    backward = sum(study.passes(name)[1] for name in METHODS)
    assert study.all_passes() == (forward, backward)
    assert study.hours() == 100 * (forward + 2 * backward) * 0.5 / 3600
    text = "\n".join(lines(study))
    assert "maps: 1000" in text
    assert "files: 3300; with `write: scores` 1300" in text
    assert "0.0 TB of maps" in text
