"""Windows dealt out to several devices of one machine, each with a copy of the network.

Batches of windows go to the devices in turn, each device works on a thread of its own, and results
come back in the order of the batches: sums are added up as on one device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import nn

from esegeta.model import held_still, is_watched
from esegeta.predict.blend import Pieces
from esegeta.predict.runner import WindowRunner

Result = TypeVar("Result")
Runner = TypeVar("Runner", bound=WindowRunner)


class Turns(Generic[Runner]):
    """The devices of a predictor, while its windows are run; a context manager.

    The networks of an ensemble take turns in one module, and what watches a network watches that
    on the first device: then all windows stay there.

    Args:
        runner: the predictor; its network is held still by the caller.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._copies: tuple[nn.Module, ...] = ()
        self._stack = ExitStack()
        self._pools: list[ThreadPoolExecutor] = []

    def __enter__(self) -> Turns[Runner]:
        runner = self._runner
        if runner.copies is None or runner.states or is_watched(runner.network):
            return self
        self._copies = runner.copies.of(runner.network)
        for copy in self._copies:
            self._stack.enter_context(held_still(copy))
        if self._copies:
            pools = (ThreadPoolExecutor(1) for _ in (None, *self._copies))
            self._pools = [self._stack.enter_context(pool) for pool in pools]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def do(
        self, pieces: Iterable[Pieces], work: Callable[[Runner, Pieces], Result]
    ) -> Iterator[tuple[Pieces, Result]]:
        """Yield each batch of windows and what the work makes of it, in order.

        Args:
            pieces: batches, on the device of the first network.
            work: runs a batch with the predictor of one device, which holds it.
        """
        if not self._pools:
            for one in pieces:
                yield one, work(self._runner, one)
            return
        silent = replace(self._runner, on_windows=None, copies=None)
        places = [silent, *(replace(silent, network=copy) for copy in self._copies)]
        waiting: deque[tuple[Pieces, Future[Result]]] = deque()
        for number, one in enumerate(pieces):
            if len(waiting) == len(places):
                yield self._next(waiting)
            turn = number % len(places)
            there = replace(one, crops=one.crops.to(places[turn].device_for(one.crops)))
            graph = torch.is_grad_enabled()
            done = self._pools[turn].submit(_do, work, places[turn], there, graph)
            waiting.append((one, done))
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[Pieces, Future[Result]]]) -> tuple[Pieces, Result]:
        pieces, done = waiting.popleft()
        result = done.result()
        if self._runner.on_windows is not None:
            self._runner.on_windows(len(pieces.windows))
        return pieces, result


def _do(
    work: Callable[[Runner, Pieces], Result], runner: Runner, pieces: Pieces, graph: bool
) -> Result:
    with torch.set_grad_enabled(graph):  # each thread has its own setting
        return work(runner, pieces)
