"""One test of many small cases, which tells of every case that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


def for_each(cases: Iterable[Any], *, called: Callable[[Any], str] = str) -> Callable[..., Any]:
    """Make a test that checks some cases one after the other, and fails with the names of all bad.

    A test that takes less than a millisecond costs several as a test of its own. Each case begins
    with the same random numbers, as each test does.

    Args:
        cases: what the check is given; a tuple is given as its parts.
        called: names a case.
    """
    listed = list(cases)

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        def test() -> None:
            faults = []
            for case in listed:
                torch.manual_seed(0)
                try:
                    check(*case) if isinstance(case, tuple) else check(case)
                except Exception as error:
                    faults.append(f"{called(case)}: {type(error).__name__}: {error}")
            assert listed and not faults, "\n\n".join(faults)

        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(test, name, getattr(check, name))
        return test

    return decorate
