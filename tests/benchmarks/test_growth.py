"""Exponents of what is known to grow by a power, and windows as they are laid."""

from pathlib import Path

import pytest

from benchmarks.growth import OVERLAPS, exponent, growths, num_windows, row_of
from benchmarks.job import LabelJob
from benchmarks.run import Result
from esegeta.predict import WindowPlan

BASE = LabelJob("saliency", 128, 64, 3)


def test_the_exponent_of_a_power_is_found() -> None:
    sizes = [2.0, 5.0, 11.0]
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [7.0] * 3) == pytest.approx(0)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_the_number_of_windows_equals_those_laid(overlap: float) -> None:
    job = LabelJob("saliency", 160, 64, 3, overlap=overlap)
    laid = WindowPlan((64, 64, 64), overlap=overlap).lay((160, 160, 160))
    assert num_windows(job) == len(laid)


def test_each_growth_varies_one_field() -> None:
    for growth in growths(BASE, 16):
        assert len(growth.sizes) == len(growth.jobs) == len(growth.words)
        fields = [vars(job) for job in growth.jobs]
        varied = {key for key in fields[0] if len({str(one[key]) for one in fields}) > 1}
        assert len(varied) == 1
    assert [job.side for job in growths(BASE, 16)[0].jobs] == [128, 192, 256, 320, 384]


def test_a_row_shows_first_and_last_size() -> None:
    growth = growths(BASE, 64)[-1]
    results = [Result(0.0, 2 * size, 100 + 10.0, 100.0, {}, Path()) for size in growth.sizes]
    assert row_of(growth, results) == (
        "cases",
        "1",
        "64",
        "2 to 128 s",
        "10 to 10 MB",
        "1.00",
        "0.00",
    )
